"""What a bag holds: topics and messages."""

from __future__ import annotations

from dataclasses import dataclass


class ReplayError(RuntimeError):
    """A bag cannot be read, written or played; the message says which, where, and how to mend it."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag: `definition` is the text of its message type where the bag holds it, `idl` its language."""

    name: str
    msgtype: str
    count: int
    definition: str = ""
    idl: bool = False


@dataclass(frozen=True)
class Message:
    """One message of a bag: recorded at `stamp_ns`, `data` is its serialized form (CDR)."""

    topic: str
    stamp_ns: int
    data: bytes
