"""Test each operator against something that this project did not write."""
