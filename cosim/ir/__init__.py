"""The vocabulary: integer types, numerics, operators, step graphs, models and their files."""
