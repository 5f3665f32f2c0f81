"""The tasks of networks: what each takes and gives, what it may be computed in, and how its outputs are compared.

One table for the manifest, the engines, checkpoints and messages: a task more is an entry here and files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TEMPORAL_PLANES = 9
"""Images in one input of a temporal filter: see `runtime.stages.temporal`."""


@dataclass(frozen=True)
class NetworkOutput:
    """One output of a network: `shape` is image, (N, H, W, C) as the input; mask, (N, H, W); classes, (N, classes); or
    other. `compared` says by what two engines' outputs are judged: change, by the power of the error relative to what
    the network changes in the image; mean or largest, by the absolute difference; share, by how many values differ;
    empty where they are not."""

    shape: str
    compared: str = ""


@dataclass(frozen=True)
class Task:
    """What a network of one task is: `called` so, it `does` that. `channels` are those that its inputs may have, all of
    them the same. `inputs` are images of one size, the one that it changes first. `dtype` is that of its outputs;
    `optional` ones are not there in all of its models. `reduced` says that it may be computed in 16 bits or in TF32
    where that is faster: with others errors add up, or thresholds would move."""

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
    # Luminance, and where the visible image is hidden: 255 of its mask.
    "fuse": Task(
        "fuser",
        "fuse visible and infrared images",
        (1,),
        {"fused": NetworkOutput("image", "change")},
        inputs=("visible", "infrared", "mask"),
        reduced=True,
    ),
    # Indices into the model's classes.
    "segment": Task(
        "segmenter", "tell what each pixel shows", (3,), {"labels": NetworkOutput("mask", "share")}, reduced=True
    ),
}
