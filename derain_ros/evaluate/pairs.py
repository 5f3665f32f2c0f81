"""Runs grey stereo frames through the whole pipeline, as the node does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from derain_ros.config import Config
from derain_ros.engine import Engine, load
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.frame import Frame, FrameSet, Result
from derain_ros.manifest import Manifest
from derain_ros.runtime.loading.models import find_restorers
from derain_ros.runtime.pipeline import Pipeline

CAMERAS = ("left", "right")
"""Names of the eyes."""
PASSED = "passed on"
"""The entry in `RestoredPairs.plans` for pairs that were not restored."""


@dataclass(frozen=True)
class RestoredPairs:
    """The results of a pipeline on stereo frames: images and masks (H, W) uint8 of each eye.

    `plans` has the number of pairs restored, by plan and networks, and of those that were PASSED.
    """

    images: tuple[list[np.ndarray], list[np.ndarray]] = field(default_factory=lambda: ([], []))
    masks: tuple[list[np.ndarray], list[np.ndarray]] = field(default_factory=lambda: ([], []))
    plans: Counter[str] = field(default_factory=Counter)


def pipelines(plans: Sequence[str], models: Path | None, all_frames: bool) -> dict[str, Pipeline]:
    """A loaded pipeline for each of `plans`, by name; it restores affected frames, or every frame if `all_frames`."""
    found = {}
    for plan in plans:
        config = Config(
            cameras=list(CAMERAS),
            plan=plan,
            gating=not all_frames,
            engine="openvino" if find_spec("openvino") else "onnxruntime",
        )
        found[plan] = Pipeline(config, Manifest.load(models))
        found[plan].load()
    return found


def engine_of(plan: str, models: Path | None) -> Engine:
    """The general network of a rung for grey images, in its coarsest precision, as the node runs it on a processor.

    EvaluationError if there is none.
    """
    manifest = Manifest.load(models)
    for network in find_restorers(Config(), manifest):
        if network.plan == plan and network.channels == 1 and not network.serves:
            model = network.models[-1]
            manifest.verify(model)
            return load(model, "openvino" if find_spec("openvino") else "onnxruntime")
    raise EvaluationError(f"{manifest.directory}: there is no general restorer for grey images for the plan {plan}")


def restored(pipeline: Pipeline, eyes: Sequence[Sequence[np.ndarray]], stamps_ns: Sequence[int]) -> RestoredPairs:
    """The results of a loaded pipeline on grey stereo frames (H, W) uint8 of both `eyes`."""
    made = RestoredPairs()
    for result in results(pipeline, eyes, stamps_ns):
        made.plans[f"{result.plan} ({result.models})" if result.models else PASSED] += 1
        for eye, name in enumerate(CAMERAS):
            made.images[eye].append(result.cameras[name].frame.image)
            made.masks[eye].append(result.cameras[name].mask)
    return made


def results(pipeline: Pipeline, eyes: Sequence[Sequence[np.ndarray]], stamps_ns: Sequence[int]) -> Iterator[Result]:
    """The result of a loaded pipeline for each pair of grey stereo frames (H, W) uint8, in order."""
    for *pair, stamp_ns in zip(*eyes, stamps_ns, strict=True):
        frames = {name: Frame(image, "mono8", stamp_ns, name) for name, image in zip(CAMERAS, pair, strict=True)}
        yield pipeline.process(FrameSet(frames))
