"""Name the request of `cosim demo`: the shipped model, in about a minute on two cores."""

from __future__ import annotations

from cosim.flow.request import Request

SHIPPED = "mamba2-py-1m"


def demo_request() -> Request:
    """Return the demo's request."""
    return Request(
        SHIPPED,
        score_tokens=32768,
        verify_tokens=512,
        prompt='class Queue:\n    """',
        write_tokens=160,
    )
