"""Quantise sequence models into one integer graph and price it on hardware, bit for bit."""

__version__ = "0.1.0"
