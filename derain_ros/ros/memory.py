"""Keep large buffers in the process, so that every image does not map and unmap its pages anew."""

from __future__ import annotations

import ctypes

MIB = 1 << 20
# Names and numbers of glibc's malloc.h; 32 MiB is the largest threshold it accepts.
_SETTINGS = {"M_MMAP_THRESHOLD": (-3, 32 * MIB), "M_TRIM_THRESHOLD": (-1, 256 * MIB), "M_TOP_PAD": (-2, 64 * MIB)}


def tune_malloc() -> bool:
    """Tell the C library to serve images from its heap; call once, before the first image.

    Returns whether it took every setting: false where the C library is not glibc, which does no harm.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    taken = [mallopt(key, value) for key, value in _SETTINGS.values()]
    return all(taken)
