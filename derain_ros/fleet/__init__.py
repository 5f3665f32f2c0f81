"""Many bags: restored by many workers, in segments, and told of on one page."""

from __future__ import annotations


class FleetError(RuntimeError):
    """The bags of a fleet cannot be found or worked on; the message says which, why, and how to mend it."""
