"""Train the byte-level models that the project ships."""
