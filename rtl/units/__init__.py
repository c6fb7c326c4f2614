"""Units in wires: what `hw_models/units` times, with ready and valid at every port."""
