"""Name the request of `cosim demo`: the shipped model, in under five minutes on two cores."""

from __future__ import annotations

from cosim.flow.request import Request

SHIPPED = "mamba2-py-1m"


def demo_request() -> Request:
    """Return the demo's request."""
    return Request(
        SHIPPED,
        score_tokens=16384,
        verify_tokens=256,
        prompt='class Queue:\n    """',
        write_tokens=160,
    )
