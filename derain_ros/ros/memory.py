"""The C library's memory: what images need stays in the process, what networks have given up does not."""

from __future__ import annotations

import ctypes

MIB = 1 << 20
# Names and numbers of glibc's malloc.h; 32 MiB is the largest threshold it accepts. Threads come and go with the
# networks: with an arena for each, up to eight for each core, what one thread frees is seldom used again by another.
_SETTINGS = {
    "M_MMAP_THRESHOLD": (-3, 32 * MIB),
    "M_TRIM_THRESHOLD": (-1, 256 * MIB),
    "M_TOP_PAD": (-2, 64 * MIB),
    "M_ARENA_MAX": (-8, 2),
}


def tune_malloc() -> bool:
    """Tell the C library to serve images from its heap, so that it does not map and unmap pages for each, and to keep
    few heaps; call once, before the first image.

    Returns whether it took every setting: false where the C library is not glibc, which does no harm.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    taken = [mallopt(key, value) for key, value in _SETTINGS.values()]
    return all(taken)


def give_back_memory() -> bool:
    """Give free memory back to the system, after networks were unloaded; false where the C library is not glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return False
    return bool(trim(0))
