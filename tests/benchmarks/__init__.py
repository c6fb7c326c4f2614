"""Kept benchmarks: commands that print the measured figures of docs/results.md again."""
