"""Every setting, written once: default, unit, range and meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

PLANS = ("quality", "balanced", "light")
"""The rungs of the ladder that restorers are made for, from the best and slowest to the cheapest."""
PURPOSES = ("segmentation",)
"""What restored images may be used for, besides any use: some networks are trained for it."""


class ConfigError(ValueError):
    """A setting has a value that cannot be used; the message names it, its value and what it may be."""


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field with a default and what a parameter description needs; `low` and `high` are inclusive."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "read_only": read_only}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """All settings of the pipeline and the node; ROS parameters and config files are made from these fields."""

    cameras: list[str] = setting(
        ["left", "right"],
        "Names of the cameras restored together, the left one first; each is the namespace of its "
        "image_raw and camera_info.",
        read_only=True,
    )
    thermal: bool = setting(
        False,
        "Subscribe to thermal/image_raw and fuse it with the left camera's images, on derained/fused.",
        read_only=True,
    )
    thermal_homography: list[float] = setting(
        [0.0] * 9,
        "3x3 matrix, row by row, that maps thermal pixels to left pixels; `derain calibrate thermal` writes it. All "
        "zeros: thermal_extrinsic and both camera_info are used instead.",
        read_only=True,
    )
    thermal_extrinsic: list[float] = setting(
        [0.0] * 6,
        "Pose of the thermal camera's optical frame in the left camera's: x right, y down, z ahead in metres, then "
        "roll, pitch, yaw in radians. All zeros: the pose is taken from /tf_static.",
        read_only=True,
    )
    thermal_distance: float = setting(
        10.0,
        "Distance at which thermal_extrinsic aligns both images; nearer and further they are off by the parallax.",
        unit="m",
        low=0.1,
        high=1000.0,
        read_only=True,
    )
    transport: str = setting(
        "raw",
        "Type of the input images: sensor_msgs/Image or CompressedImage.",
        choices=("raw", "compressed"),
        read_only=True,
    )
    lazy: bool = setting(
        True,
        "Subscribe to the inputs only while somebody subscribes to an output: an image, a mask, "
        "a camera_info, ~/anomaly or ~/status.",
    )
    autostart: bool = setting(True, "Configure and activate the node by itself.", read_only=True)
    enabled: bool = setting(True, "Restore; when false every frame is passed on untouched.")
    gating: bool = setting(
        True, "Pass a clean pair on untouched; when false every frame is restored, also behind dirt."
    )
    detector: str = setting("detect", "Model that detects anomalies.", read_only=True)
    restorer: str = setting(
        "auto",
        "Model that restores; auto chooses the best one by encoding, anomaly and budget.",
        read_only=True,
    )
    plan: str = setting(
        "auto",
        "The best plan that may be run. auto: the best that keeps up with the cameras; offline, the best there is. "
        "Behind dirt alone auto runs none; the others do.",
        choices=("auto", *PLANS),
    )
    purpose: str = setting(
        "any",
        "What the restored images are for: a rung takes the network that was trained for this purpose, where there is "
        "one.",
        choices=("any", *PURPOSES),
        read_only=True,
    )
    fill: str = setting(
        "restored",
        "What is shown under the mask: restored is the restorer's result; smooth is that result without detail, so "
        "that nothing there can be tracked.",
        choices=("restored", "smooth"),
    )
    temporal: bool = setting(
        False,
        "Run the temporal filter where there is time: it joins restored frames with what earlier frames showed of the "
        "same scene, which is steadier behind drops that stay on the lens of a moving camera.",
        read_only=True,
    )
    temporal_model: str = setting(
        "temporal",
        "Model of the temporal filter: temporal keeps what trackers need, temporal_steady flickers least.",
        read_only=True,
    )
    engine: str = setting(
        "auto",
        "Engine that runs the networks; auto measures those that are installed and takes the fastest.",
        choices=(
            "auto",
            "onnxruntime",
            "onnxruntime-cuda",
            "onnxruntime-tensorrt",
            "openvino",
            "openvino-gpu",
            "tensorrt",
        ),
        read_only=True,
    )
    threads: int = setting(0, "Threads of the networks; 0 takes every core.", low=0, high=256, read_only=True)
    memory_mb: int = setting(
        2048,
        "Memory that all engines together may take; networks that do not fit run in ONNX Runtime.",
        unit="MB",
        low=64,
        high=1000000,
        read_only=True,
    )
    budget_ms: float = setting(
        200.0, "Time within which the result of a frame set must be published.", unit="ms", low=1.0, high=10000.0
    )
    budget_from: str = setting(
        "arrival",
        "Start of the budget: the arrival of a frame set, or the stamp of its first frame. stamp needs cameras that "
        "use the clock of the node.",
        choices=("arrival", "stamp"),
    )
    on_score: float = setting(0.75, "Score from which a camera counts as affected.", low=0.0, high=1.0)
    off_score: float = setting(0.6, "Score under which a camera counts as clean again.", low=0.0, high=1.0)
    on_hold_s: float = setting(
        0.2, "How long the score must stay high before the flag rises.", unit="s", low=0.0, high=60.0
    )
    off_hold_s: float = setting(
        1.0, "How long the score must stay low before the flag falls.", unit="s", low=0.0, high=60.0
    )
    severe: float = setting(
        0.5,
        "Severity from which an affected camera is an error. Severity is the score times the share of the view's "
        "structure that is lost; a fifth lost counts as all.",
        low=0.0,
        high=1.0,
    )
    severe_hold_s: float = setting(3.0, "How long the severity must stay that high.", unit="s", low=0.0, high=600.0)
    pair_tolerance_ms: float = setting(
        5.0, "Largest difference of stamps within a frame set.", unit="ms", low=0.0, high=1000.0
    )
    thermal_tolerance_ms: float = setting(
        200.0,
        "Largest difference of stamps between the thermal frame and a frame set.",
        unit="ms",
        low=0.0,
        high=10000.0,
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            check(f.name, getattr(self, f.name))
        if self.off_score > self.on_score:
            raise ConfigError(
                f"off_score: {self.off_score} is above on_score ({self.on_score}); set it lower, or the "
                "flag would never settle"
            )
        if self.thermal and "thermal" in self.cameras:
            raise ConfigError(
                "cameras: thermal is the name of the thermal camera; name the other one differently, or "
                "set thermal to false"
            )
        if self.thermal and "fused" in self.cameras:
            raise ConfigError(
                "cameras: fused is where fused images are published; name the camera differently, or set "
                "thermal to false"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Config:
        """Return settings from a mapping of names to values; ConfigError for an unknown name."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
                raise ConfigError(f"{name}: no such setting; {meant}")
        return cls(**values)


def read_parameters(path: Path) -> dict[str, Any]:
    """Return the parameters in a YAML file of `ros2 launch` or `--params-file`, whichever node it names.

    ConfigError if it has none, or cannot be read.
    """
    from derain_ros.files import FileError, read_yaml  # code that only makes settings needs no reader of files

    try:
        nodes = read_yaml(path)
        return dict(next(node["ros__parameters"] for node in nodes.values() if "ros__parameters" in node))
    except (OSError, FileError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (AttributeError, TypeError, ValueError, StopIteration) as error:
        raise ConfigError(
            f"{path}: holds no ros__parameters below the name of a node, as config/derain.yaml does"
        ) from error


def check(name: str, value: Any) -> None:
    """Raise ConfigError unless `value` is of the type, range and choices of the setting `name`."""
    f = next(f for f in fields(Config) if f.name == name)
    meta = f.metadata
    kinds: dict[str, tuple[type, ...]] = {
        "bool": (bool,),
        "int": (int,),
        "float": (int, float),
        "str": (str,),
        "list[str]": (list, tuple),
        "list[float]": (list, tuple),
    }
    kind = kinds[str(f.type)]
    # In Python a bool is an int.
    fits = isinstance(value, kind) and (bool in kind or not isinstance(value, bool))
    if not fits:
        raise ConfigError(f"{name}: {value!r} is not of type {f.type}")
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(meta['choices'])}")
    if meta["low"] is not None and not meta["low"] <= value <= meta["high"]:
        unit = f" {meta['unit']}" if meta["unit"] else ""
        raise ConfigError(f"{name}: {value} is outside {meta['low']} to {meta['high']}{unit}")
    if f.type == "list[float]" and not all(
        isinstance(number, (int, float)) and not isinstance(number, bool) for number in value
    ):
        raise ConfigError(f"{name}: {value!r} must be a list of numbers")
    if f.type == "list[str]" and not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{name}: {value!r} must be a list of text")
    if name == "cameras":
        _check_cameras(value)


def _check_cameras(names: Sequence[str]) -> None:
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"cameras: {names!r} must name at least one camera, each once")
    for name in names:
        # They become parts of topic names.
        if not re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name, re.ASCII):
            raise ConfigError(f"cameras: {name!r} must be letters, digits and underscores, and begin with no digit")
