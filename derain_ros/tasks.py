"""The tasks of networks: their inputs, outputs and allowed precision, and how outputs are compared.

This one table serves the manifest, the engines, checkpoints and messages: a new task is an entry here and files of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TEMPORAL_PLANES = 9
"""Planes of one input of a temporal filter: see `runtime.stages.temporal`."""


@dataclass(frozen=True)
class NetworkOutput:
    """One output of a network.

    `shape` is image, (N, H, W, C) as the input; mask, (N, H, W); classes, (N, classes); or other. `compared` says how
    the outputs of two engines are compared: change, by the power of the error relative to what the network changes in
    the image; mean or largest, by the absolute difference; share, by the number of values that differ; empty, not at
    all.
    """

    shape: str
    compared: str = ""


@dataclass(frozen=True)
class Task:
    """The properties of networks of one task.

    `called` and `does` are its words in messages. `channels` are the numbers of channels that inputs may have, the same
    for all of them. `inputs` are images of one size; the first is the one that is changed. `dtype` is that of the
    outputs; some models lack the `optional` ones. `reduced` says that it may be computed in 16 bits or in TF32 if that
    is faster: in other networks errors would add up, or thresholds would move.
    """

    called: str
    does: str
    channels: tuple[int, ...]
    outputs: Mapping[str, NetworkOutput]
    inputs: tuple[str, ...] = ("image",)
    dtype: str = "uint8"
    optional: tuple[str, ...] = ()
    reduced: bool = False


TASKS: Mapping[str, Task] = {
    "restore": Task(
        "restorer",
        "restore",
        (1, 3),
        {"restored": NetworkOutput("image", "change"), "mask": NetworkOutput("mask", "mean")},
        reduced=True,
    ),
    "detect": Task(
        "detector",
        "detect",
        (1, 3),
        {"probabilities": NetworkOutput("classes", "largest"), "mask": NetworkOutput("other", "mean")},
        dtype="float32",
        optional=("severity",),
    ),
    "temporal": Task(
        "temporal filter",
        "join frames",
        (TEMPORAL_PLANES,),
        {
            "weights": NetworkOutput("other", "mean"),
            "mask": NetworkOutput("mask", "mean"),
            "memory": NetworkOutput("other", "mean"),
        },
    ),
    # Luminance; the mask is 255 where the visible image is hidden.
    "fuse": Task(
        "fuser",
        "fuse visible and infrared images",
        (1,),
        {"fused": NetworkOutput("image", "change")},
        inputs=("visible", "infrared", "mask"),
        reduced=True,
    ),
    # Labels are indices into the model's classes.
    "segment": Task(
        "segmenter", "tell what each pixel shows", (3,), {"labels": NetworkOutput("mask", "share")}, reduced=True
    ),
}
