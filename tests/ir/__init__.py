"""Test the vocabulary: types, numerics, graphs, models and their files."""
