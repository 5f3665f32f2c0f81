"""The contents of a bag: topics and messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class ReplayError(RuntimeError):
    """A bag cannot be read, written or played; the message says which, where, and how to fix it."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag; `count` is the number of its messages.

    `definition` is the text of its message type if the bag has it, `encoding` the language of that text (`ros2msg`,
    `ros2idl`), `digest` the hash of the type. `serialization` is the encoding of the messages. `qos` are the profiles
    of its publishers, in the form of rosbags; `ros2 bag play` offers them again.
    """

    name: str
    msgtype: str
    count: int
    definition: str = ""
    encoding: str = ""
    digest: str = ""
    serialization: str = "cdr"
    qos: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Message:
    """One message of a bag, recorded at `stamp_ns`, which is not negative; `data` is its serialized form (CDR).

    `msgtype` is the type with which it was recorded, empty if not known.
    """

    topic: str
    stamp_ns: int
    data: bytes
    msgtype: str = field(default="", compare=False)
