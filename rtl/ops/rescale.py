"""Multiply by a constant, shift and saturate: the datapath of `mul`."""

from rtl.ops.mul import wires

__all__ = ["wires"]
