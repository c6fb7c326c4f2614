"""Say of each kind of unit what its firings are: one file per kind, the half that wires must match.

Each file has `stages` (cycles from a firing to its output at the FIFO's end) and `program` (the
firings of one task). Both follow from the Design alone. The rules of a firing are in
`hw_models/network.py`.
"""
