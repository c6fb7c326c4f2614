"""Wires: the Design as PyRTL datapaths and the Verilog they export."""
