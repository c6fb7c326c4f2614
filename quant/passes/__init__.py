"""Passes: small frozen values that turn a draft into the next draft."""
