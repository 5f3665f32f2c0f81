"""Restores many bags by many workers, in segments, and reports them on one page."""

from __future__ import annotations


class FleetError(RuntimeError):
    """The bags of a fleet cannot be found or processed; the message says which, why, and how to fix it."""
