"""What a bag holds: topics and messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ReplayError(RuntimeError):
    """A bag cannot be read, written or played; the message says which, where, and how to mend it."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag: `definition` is the text of its message type where the bag holds it, `idl` its language.

    `qos` are the profiles with which it was published, in the form of rosbags; `ros2 bag play` offers them again.
    """

    name: str
    msgtype: str
    count: int
    definition: str = ""
    idl: bool = False
    qos: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Message:
    """One message of a bag: recorded at `stamp_ns`, `data` is its serialized form (CDR)."""

    topic: str
    stamp_ns: int
    data: bytes
