"""Strategies of hypothesis for what is nearly right: the bytes of something valid, damaged in a few places."""

from __future__ import annotations

from hypothesis import strategies as st


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """`valid` with bytes overwritten, inserted, taken out and repeated, and perhaps its end cut off."""
    place = st.integers(0, max(len(valid) - 1, 0))
    change = st.one_of(
        st.tuples(st.just("write"), place, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("remove"), place, st.integers(1, 64)),
        st.tuples(st.just("repeat"), place, st.integers(1, 64)),
        st.tuples(st.just("cut"), place, st.none()),
    )

    def apply(changes: list[tuple[str, int, object]]) -> bytes:
        data = bytearray(valid)
        for kind, at, with_what in changes:
            if isinstance(with_what, bytes):
                data[at : at + (len(with_what) if kind == "write" else 0)] = with_what
            elif isinstance(with_what, int):
                piece = data[at : at + with_what]
                data[at : at + with_what] = b"" if kind == "remove" else piece * 2
            else:
                del data[at:]
        return bytes(data)

    return st.lists(change, min_size=1, max_size=4).map(apply)


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
"""What YAML and JSON can hold."""
