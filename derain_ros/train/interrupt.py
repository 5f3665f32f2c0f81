"""Ctrl-C and SIGTERM during training: noted, and obeyed between two steps."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

log = logging.getLogger(__name__)


@contextmanager
def asked_to_stop(fabric: Fabric) -> Iterator[list[int]]:
    """Yield a list that gets the number of each SIGINT (Ctrl-C) or SIGTERM, so that no step is interrupted.

    A second signal ends a single process at once. Several processes ignore it: they may get each one twice, from the
    terminal and from their parent.
    """
    asked: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {s: signal.getsignal(s) for s in signals}

        def note(number: int, _: object) -> None:
            asked.append(number)
            log.info("stopping after this step; once more stops at once, and loses it")
            if fabric.world_size == 1:
                signal.signal(number, before[signal.Signals(number)])

        for s in signals:
            signal.signal(s, note)
    except ValueError:  # not the main thread, which alone gets signals
        before = {}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def any_asked(fabric: Fabric, asked: list[int], step: int) -> bool:
    """Return whether a process was asked to stop.

    Several processes agree on it every tenth step only, because that takes time.
    """
    if fabric.world_size == 1:
        return bool(asked)
    if step % 10:
        return False
    return bool(fabric.all_reduce(torch.tensor(float(bool(asked)), device=fabric.device), reduce_op="max"))
