"""Tests of the units in wires."""
