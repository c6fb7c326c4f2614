"""Measure what the tests do not: speed beside other tools."""
