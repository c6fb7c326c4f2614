"""Hardware models: what a Design costs in cycles, joules and bytes."""
