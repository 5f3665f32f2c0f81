"""Detects raindrops and dirt on camera lenses and restores the images, within a latency budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derain_ros.config import Config, ConfigError
from derain_ros.frame import Action, Anomaly, CameraResult, Frame, FrameSet, Result

if TYPE_CHECKING:
    from derain_ros.runtime.pipeline import Pipeline

__version__ = "0.1.0"

__all__ = ["Action", "Anomaly", "CameraResult", "Config", "ConfigError", "Frame", "FrameSet", "Pipeline", "Result"]


def __getattr__(name: str) -> Any:
    # The pipeline imports OpenCV; code that needs only the types does not wait for it.
    if name == "Pipeline":
        from derain_ros.runtime.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
