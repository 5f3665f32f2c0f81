"""What `derain doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, what was found, and where it is not well, what to do.

    The node cannot do its work while a `needed` one has a `remedy`.
    """

    subject: str
    found: str
    remedy: str = ""
    needed: bool = False
