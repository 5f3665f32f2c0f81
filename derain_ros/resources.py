"""Where the files shipped with the package are: models and default configuration."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def model_dir() -> Path:
    """The directory of the shipped models and their models.yaml."""
    return _shipped("models", "models")


def default_file(name: str) -> Path:
    """Return the path of a shipped configuration file, e.g. "fastdds.xml"; FileNotFoundError lists those there are."""
    directory = _shipped("defaults", "config")
    path = directory / name
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in directory.glob("*"))) or "nothing"
        raise FileNotFoundError(f"{path}: no such default file; there is {there}")
    return path


def _shipped(installed: str, source: str) -> Path:
    """Return the data directory of the installed package, or of the checkout that the package is run from."""
    package = Path(str(files("derain_ros")))
    if (package / installed).is_dir():
        return package / installed
    # An editable or symlinked install leaves the data in the source tree.
    return package.resolve().parent / source
