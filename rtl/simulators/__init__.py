"""Run an exported or elaborated block: one file per simulator."""
