"""Tests; the folders below mirror the packages they test."""
