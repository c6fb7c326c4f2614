"""Lower float models to integer graphs: one file per family, shared pieces beside them."""
