"""The manifest of models, models.yaml: find, verify and describe a model."""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derain_ros.config import PLANS, PURPOSES
from derain_ros.files import FileError, read_file, read_yaml
from derain_ros.frame import ANOMALY_KINDS
from derain_ros.resources import model_dir
from derain_ros.tasks import TASKS

MANIFEST_NAME = "models.yaml"
FIGURES = "figures"
"""Folder beside the manifest with the measured figures, one file for each model."""
PRECISIONS = ("float32", "int8")
MOST_MODEL_BYTES = 1 << 30
MOST_PIXELS, MOST_STRIDE, MOST_SCALE = 2048, 128, 8
"""Upper limits of the sides of a detector's input and of a network's stride and scale: more is a mistake, and would
fill the memory."""
EXTERNAL_DATA = b"\n\x08location\x12"
"""Bytes by which an ONNX file refers to another file that holds its weights."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
"""Shortens wrong values of any type for messages."""


class ManifestError(ValueError):
    """The manifest or a model file cannot be used; the message names the file and how to fix it."""


@dataclass(frozen=True)
class Model:
    """One entry of the manifest.

    `file` is the absolute path of the ONNX file and `sha256` its digest. `channels` is 1 (grey), 3 (RGB) or, for a
    temporal filter, the number of its planes. Height and width of the input must be multiples of `stride`. `card` is
    the name of the Markdown file beside the manifest that says how the model was made.

    Models of one `network` are that network for grey or colour images, in one `precision` of PRECISIONS or another; by
    default each model is a network of its own. A restorer belongs to a `plan` of PLANS, takes images reduced by
    `scale`, and `serves` the named kinds of anomaly, all if none is named. It is `not_for` the kinds behind which a
    general one leaves trackers worse off than the camera's images. A model made for a `purpose` of PURPOSES replaces
    the one of its rung if the settings name this purpose. Detectors (clean first) and segmenters have `classes`. Only a
    detector has `size`, the (height, width) of its input, and `multi_label`: its probabilities are independent and do
    not sum to 1.
    """

    name: str
    task: str
    file: Path
    sha256: str
    channels: int
    stride: int
    description: str = ""
    card: str = ""
    classes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    multi_label: bool = False
    plan: str = "balanced"
    precision: str = "float32"
    serves: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()
    network: str = ""
    scale: int = 1
    purpose: str = ""


@dataclass(frozen=True)
class Manifest:
    """The models of one directory, by name."""

    directory: Path
    models: dict[str, Model]

    @classmethod
    def load(cls, directory: Path | None = None) -> Manifest:
        """Read `directory`/models.yaml, by default that of the shipped models; ManifestError if it cannot be used."""
        directory = (directory or model_dir()).absolute()
        path = directory / MANIFEST_NAME
        try:
            content = read_yaml(path)
            # Installers that use links, as colcon does on request, link each file: models lie beside the link's target.
            directory = path.resolve().parent
        except OSError as error:
            raise ManifestError(
                f"{path}: cannot be read ({error.strerror}); give a directory that holds {MANIFEST_NAME}"
            ) from error
        except FileError as error:
            raise ManifestError(f"{path}: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("models"), list):
            raise ManifestError(f"{path}: must hold a list named models")
        models: dict[str, Model] = {}
        for number, entry in enumerate(content["models"], start=1):
            model = _model(entry, directory, f"{path}: model {number}")
            if model.name in models:
                raise ManifestError(f"{path}: model {number}: the name {model.name} is there twice; rename one")
            models[model.name] = model
        return cls(directory, models)

    def get(self, name: str) -> Model:
        """Return the model called `name`; ManifestError, which lists all names, if there is none."""
        if name not in self.models:
            there = ", ".join(sorted(self.models)) or "none"
            raise ManifestError(f"{name}: no such model in {self.directory}; there are: {there}")
        return self.models[name]

    def figures(self, model: Model) -> dict[str, float]:
        """Return the model's measured figures from `figures`/NAME.yaml beside the manifest; empty if not measured.

        ManifestError if the file does not hold names with one number each.
        """
        path = self.directory / FIGURES / f"{model.name}.yaml"
        if not path.exists():
            return {}
        try:
            content = read_yaml(path)
        except (OSError, FileError) as error:
            raise ManifestError(f"{path}: {error}; measure the model again or remove the file") from error
        if not isinstance(content, dict) or not all(
            isinstance(name, str) and isinstance(value, (int, float)) for name, value in content.items()
        ):
            raise ManifestError(f"{path}: must hold names with a number each; measure the model again or remove it")
        return content

    def verify(self, model: Model) -> None:
        """Raise ManifestError unless the model's file can be used.

        It must be readable, lie in the directory, have the digest of the manifest, and hold all of its weights.
        """
        mend = f"restore the file of model {model.name} or remove its entry"
        try:
            if not model.file.resolve(strict=True).is_relative_to(self.directory):
                raise FileError(f"leads out of {self.directory}")
            data = read_file(model.file, MOST_MODEL_BYTES)
        except (FileError, OSError, RuntimeError) as error:  # RuntimeError: a link to itself
            reason = error.strerror if isinstance(error, OSError) else error
            raise ManifestError(f"{model.file}: cannot be read ({reason}); {mend}") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != model.sha256:
            raise ManifestError(
                f"{model.file}: sha256 is {digest}, the manifest says {model.sha256}; "
                f"the file of model {model.name} is damaged or not the one described"
            )
        if EXTERNAL_DATA in data:
            raise ManifestError(
                f"{model.file}: keeps weights in another file, which no digest covers; save model "
                f"{model.name} as one file"
            )


def _model(entry: Any, directory: Path, where: str) -> Model:
    """Check one entry of the manifest and return its model; the messages of ManifestError begin with `where`."""
    if not isinstance(entry, Mapping):
        raise ManifestError(f"{where}: must be a mapping of keys to values")
    required: dict[str, type] = {"name": str, "task": str, "file": str, "sha256": str, "channels": int, "stride": int}
    optional: dict[str, type] = {
        "description": str,
        "card": str,
        "plan": str,
        "precision": str,
        "serves": list,
        "not_for": list,
        "multi_label": bool,
        "network": str,
        "scale": int,
        "purpose": str,
    }
    of_task: dict[str, dict[str, type]] = {"detect": {"classes": list, "size": list}, "segment": {"classes": list}}
    if isinstance(entry.get("name"), str):
        where = f"{where} ({entry['name']})"
    if "task" in entry:
        _require(entry["task"] in tuple(TASKS), where, "task", entry["task"], f"one of {', '.join(TASKS)}")
        required |= of_task.get(entry["task"], {})
    kinds = required | optional
    for key, value in entry.items():
        if key not in kinds:
            raise ManifestError(f"{where}: unknown key {_SHORT.repr(key)}; there are {', '.join(kinds)}")
        if not isinstance(value, kinds[key]) or isinstance(value, bool) and kinds[key] is not bool:
            raise ManifestError(f"{where}: {key} is {_SHORT.repr(value)}, which is not of type {kinds[key].__name__}")
    if missing := [key for key in required if key not in entry]:
        raise ManifestError(f"{where}: {', '.join(missing)} missing")
    channels = TASKS[entry["task"]].channels
    _require(entry["channels"] in channels, where, "channels", entry["channels"], " or ".join(map(str, channels)))
    _require(1 <= entry["stride"] <= MOST_STRIDE, where, "stride", entry["stride"], f"between 1 and {MOST_STRIDE}")
    _require(entry.get("plan", "light") in PLANS, where, "plan", entry.get("plan"), f"one of {', '.join(PLANS)}")
    _require(
        entry.get("precision", "int8") in PRECISIONS,
        where,
        "precision",
        entry.get("precision"),
        f"one of {', '.join(PRECISIONS)}",
    )
    purposes = ", ".join(PURPOSES)
    _require(
        entry.get("purpose", PURPOSES[0]) in PURPOSES, where, "purpose", entry.get("purpose"), f"one of {purposes}"
    )
    _require(
        1 <= entry.get("scale", 1) <= MOST_SCALE, where, "scale", entry.get("scale"), f"between 1 and {MOST_SCALE}"
    )
    anomalies = ANOMALY_KINDS[1:]
    values = {key: entry[key] for key in kinds if key in entry}
    for key in ("serves", "not_for"):
        values[key] = tuple(entry.get(key, ()))
        wanted = f"a list of {', '.join(anomalies)}, or left out"
        _require(set(map(str, values[key])) <= set(anomalies), where, key, entry.get(key), wanted)
    values["file"] = directory / entry["file"]
    values["network"] = entry.get("network") or entry["name"]
    if "classes" in required:
        classes, first = entry["classes"], ", clean first" if entry["task"] == "detect" else ""
        _require(
            1 < len(classes) < 256
            and all(isinstance(c, str) for c in classes)
            and (not first or classes[0] == "clean"),
            where,
            "classes",
            classes,
            f"a list of names{first}",
        )
        values["classes"] = tuple(classes)
    if entry["task"] == "detect":
        size = entry["size"]
        _require(
            len(size) == 2 and all(isinstance(n, int) and 0 < n <= MOST_PIXELS for n in size),
            where,
            "size",
            size,
            f"[height, width] of {MOST_PIXELS} at the most",
        )
        values["size"] = (size[0], size[1])
    return Model(**values)


def _require(condition: bool, where: str, key: str, value: Any, what: str) -> None:
    if not condition:
        raise ManifestError(f"{where}: {key} is {_SHORT.repr(value)}; it must be {what}")
