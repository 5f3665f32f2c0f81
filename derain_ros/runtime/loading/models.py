"""Finds the networks that the settings ask for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from derain_ros.config import Config
from derain_ros.engine import Engine, EngineError, load
from derain_ros.engine.machine import physical_cores
from derain_ros.manifest import PRECISIONS, Manifest, ManifestError, Model
from derain_ros.tasks import TASKS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Network:
    """One trained network for images with one number of channels. Its models differ in precision, the finest first."""

    name: str
    models: tuple[Model, ...]

    @property
    def plan(self) -> str:
        """Its rung on the ladder."""
        return self.models[0].plan

    @property
    def serves(self) -> tuple[str, ...]:
        """The kinds of anomaly that it is made for; empty where it serves all."""
        return self.models[0].serves

    @property
    def not_for(self) -> tuple[str, ...]:
        """The kinds of anomaly that it leaves trackers worse off behind."""
        return self.models[0].not_for

    @property
    def purpose(self) -> str:
        """What it is made for; empty where it is for any use."""
        return self.models[0].purpose

    @property
    def scale(self) -> int:
        """The factor by which its images are reduced."""
        return self.models[0].scale

    @property
    def channels(self) -> int:
        """Channels of the images that it takes."""
        return self.models[0].channels


def find_detector(config: Config, manifest: Manifest) -> Model:
    """The detector, verified; ManifestError or EngineError where it cannot be used."""
    model = _of_task(config.detector, "detect", manifest)
    manifest.verify(model)
    return model


def find_restorers(config: Config, manifest: Manifest) -> list[Network]:
    """The restorers to choose from; each is verified when it is loaded. ManifestError or EngineError where the named
    one cannot be used, or where none serves every anomaly."""
    if config.restorer != "auto":
        model = _of_task(config.restorer, "restore", manifest)
        manifest.verify(model)
        return [Network(model.network, (model,))]
    found = _for_purpose(_networks(manifest, "restore"), config.purpose)
    if all(network.serves for network in found):
        raise ManifestError(
            f"{manifest.directory}: there is no restorer that serves every anomaly; name the one to "
            "use, or restore its entry"
        )
    return found


def find_temporal(config: Config, manifest: Manifest) -> Network | None:
    """The temporal filter that the settings name; None where it is switched off. ManifestError or EngineError where
    there is no such model."""
    if not config.temporal:
        return None
    model = _of_task(config.temporal_model, "temporal", manifest)
    return next(network for network in _networks(manifest, "temporal") if model in network.models)


def find_fuser(manifest: Manifest) -> Network | None:
    """The fuser of visible and infrared images; None where there is no such model."""
    return next(iter(_networks(manifest, "fuse")), None)


def load_detector(model: Model, config: Config) -> Engine:
    """The detector on the engine that the settings name, or else on ONNX Runtime on the processor. EngineError where
    that fails too.

    The detector is needed before there is time to measure engines. So `auto` takes OpenVINO where that is installed: it
    runs this small network in two thirds of the time. With OpenVINO each eye has a stream of its own. Threads that
    share one image take a third longer: they sleep between images and must synchronise again.
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


def _for_purpose(networks: Sequence[Network], purpose: str) -> list[Network]:
    """Networks for any use and those for this purpose, which replace the general ones of their rung."""
    fit = [network for network in networks if network.purpose in ("", purpose)]
    taken = {(network.plan, network.channels) for network in fit if network.purpose}
    return [n for n in fit if n.purpose or n.serves or (n.plan, n.channels) not in taken]


def _networks(manifest: Manifest, task: str) -> list[Network]:
    groups: dict[tuple[str, int], list[Model]] = {}
    for model in manifest.models.values():
        if model.task == task:
            groups.setdefault((model.network, model.channels), []).append(model)
    return [
        Network(name, tuple(sorted(group, key=lambda model: PRECISIONS.index(model.precision))))
        for (name, _), group in groups.items()
    ]


def _of_task(name: str, task: str, manifest: Manifest) -> Model:
    model = manifest.get(name)
    if model.task != task:
        what, wanted = (TASKS[each].does for each in (model.task, task))
        raise EngineError(f"{name}: its task is to {what}, not to {wanted}; name another model")
    return model
