"""Which models the settings ask for, and the detector among them, loaded."""

from __future__ import annotations

import logging

from derain_ros.config import Config
from derain_ros.engine import Engine, EngineError, load
from derain_ros.engine.machine import physical_cores
from derain_ros.manifest import PRECISIONS, Manifest, ManifestError, Model

logger = logging.getLogger(__name__)

DOES = {"temporal": "join frames"}
"""What models do, in words, where that is not the name of their task."""


def find_detector(config: Config, manifest: Manifest) -> Model:
    """The detector, verified; ManifestError or EngineError where it cannot be used."""
    return _find(config.detector, "detect", manifest)


def find_restorers(config: Config, manifest: Manifest) -> list[Model]:
    """The restorers to choose from, verified; ManifestError or EngineError where they cannot be used."""
    if config.restorer != "auto":
        return [_find(config.restorer, "restore", manifest)]
    restorers = [model for model in manifest.models.values() if model.task == "restore"]
    for channels, images in ((1, "grey"), (3, "colour")):
        if not any(model.channels == channels and not model.serves for model in restorers):
            raise ManifestError(f"{manifest.directory}: there is no restorer for {images} images that serves every "
                                "anomaly; name the one to use, or restore its entry")
    return [_find(model.name, "restore", manifest) for model in restorers]


def find_temporal(config: Config, manifest: Manifest) -> tuple[Model, ...]:
    """The temporal filter in its precisions, the finest first, verified; none where none is wanted, or none is there.

    Frames are restored without it where its file cannot be used, which is logged. ManifestError or EngineError where
    there are others, but not the one that the settings name.
    """
    if not config.temporal or not any(model.task == "temporal" for model in manifest.models.values()):
        return ()
    name = config.temporal_model
    names = [each for each in (name, f"{name}_int8") if each in manifest.models] or [name]
    found = [_of_task(each, "temporal", manifest) for each in names]
    try:
        for model in found:
            manifest.verify(model)
    except ManifestError as error:
        logger.error("each frame is restored by itself: %s", error)
        return ()
    return tuple(sorted(found, key=lambda model: PRECISIONS.index(model.precision)))


def load_detector(model: Model, config: Config) -> Engine:
    """The detector by the engine that is asked for, or else by ONNX Runtime on the processor; EngineError.

    It is needed before there is time to measure engines: auto takes OpenVINO where that is installed, which runs this
    small network in two thirds of the time. There each eye has a stream of its own: threads that share one image, and
    have slept since the last, take a third longer to find each other.
    """
    auto = config.engine == "auto"
    name = "openvino" if auto else config.engine
    streams = min(len(config.cameras), config.threads or len(physical_cores())) if name == "openvino" else 1
    try:
        return load(model, name, config.threads, streams)
    except EngineError as error:
        if config.engine == "onnxruntime":
            raise
        if not auto:
            logger.warning("%s: %s; ONNX Runtime on the processor takes over", model.name, error)
        return load(model, "onnxruntime", config.threads)


def _find(name: str, task: str, manifest: Manifest) -> Model:
    model = _of_task(name, task, manifest)
    manifest.verify(model)
    return model


def _of_task(name: str, task: str, manifest: Manifest) -> Model:
    model = manifest.get(name)
    if model.task != task:
        what, wanted = (DOES.get(each, each) for each in (model.task, task))
        raise EngineError(f"{name}: its task is to {what}, not to {wanted}; name another model")
    return model
