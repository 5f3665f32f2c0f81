"""Reads JSON values as the dataclasses, lists and mappings that they were written from, and checks every type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

UNKNOWN = ("nan", "inf", "-inf")
"""Texts for the numbers that JSON does not have."""
MOST = 1 << 63
"""Integers must be smaller than this."""


def read_as(kind: Any, value: Any, name: str) -> Any:
    """Read a JSON value as `kind`; TypeError that names the place if the type is another.

    `kind` is bool, int, float, str, a dataclass (from a list or a mapping of its fields), a list, tuple, Mapping or
    Counter of these, or one of them or None. Keys are text, or integers if `kind` says so; ValueError if one is not.
    """
    outer, inner = get_origin(kind) or kind, get_args(kind)
    if outer is Any:
        return value
    if outer in (Union, UnionType):
        return None if value is None else read_as(next(k for k in inner if k is not NoneType), value, name)
    if outer is float and (value in UNKNOWN if isinstance(value, str) else _is_integer(value)):
        return float(value)
    if outer is int and _is_integer(value) or outer in (float, str, bool) and isinstance(value, outer):
        return value
    if outer is list and isinstance(value, list):
        return [read_as(inner[0], each, f"{name}[{at}]") for at, each in enumerate(value)]
    if outer is tuple and isinstance(value, list) and len(value) == len(inner):
        return tuple(read_as(k, each, f"{name}[{at}]") for at, (k, each) in enumerate(zip(inner, value, strict=True)))
    if outer in (Counter, Mapping, dict) and isinstance(value, dict):
        of = int if outer is Counter else inner[1]
        return (Counter if outer is Counter else dict)(
            {int(key) if inner[0] is int else key: read_as(of, each, f"{name}.{key}") for key, each in value.items()}
        )
    if is_dataclass(outer) and isinstance(value, (list, dict)):
        hints = get_type_hints(outer)
        fields = value if isinstance(value, dict) else dict(zip(hints, value, strict=True))
        if set(fields) == set(hints):
            return outer(**{key: read_as(hints[key], each, f"{name}.{key}") for key, each in fields.items()})  # type: ignore[operator]
    raise TypeError(f"{name}: {value!r:.80} is not of type {kind if inner else outer.__name__}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -MOST <= value < MOST
