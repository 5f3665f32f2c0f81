"""Speed and agreement of engines and of the node on this machine."""

from __future__ import annotations


class BenchError(RuntimeError):
    """Something cannot be measured or compared; the message says what, and how to fix it."""
