"""What the commands that measure restorers share: the model that is meant, and its figures on sets of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derain_ros.evaluate.restoration import Pair, Score
    from derain_ros.manifest import Model


def model_named(name: str, models: Path | None) -> Model:
    """The restorer of an ONNX file, or of that name in the manifest of `models`, its file verified."""
    from derain_ros.evaluate.restoration import EvaluationError, model_of_file
    from derain_ros.manifest import Manifest
    if name.endswith(".onnx"):
        return model_of_file(Path(name))
    manifest = Manifest.load(models)
    model = manifest.get(name)
    if model.task != "restore":
        raise EvaluationError(f"{name}: its task is to {model.task}; name a restorer")
    manifest.verify(model)
    return model


def temporal_named(name: str, models: Path | None) -> Model:
    """The temporal filter of that name in the manifest of `models`, its file verified."""
    from derain_ros.evaluate.restoration import EvaluationError
    from derain_ros.manifest import Manifest
    manifest = Manifest.load(models)
    model = manifest.get(name)
    if model.task != "temporal":
        raise EvaluationError(f"{name}: its task is to {model.task}; name a temporal filter")
    manifest.verify(model)
    return model


def figures_of(model: Model, sets: Mapping[str, Sequence[Pair]],
               output: Path | None) -> list[tuple[str, str, list[Score]]]:
    """The model's figures on each set, as rows (set, model, scores), with progress shown.

    Below the folder `output` each row gets a CSV of its images and a sheet to look at.
    """
    import cv2
    from rich.progress import track

    from derain_ros.engine import load
    from derain_ros.evaluate.restoration import evaluate, write_csv
    from derain_ros.evaluate.sheet import before_after
    engine, rows = load(model), []
    for name, pairs in sets.items():
        scores = evaluate(engine, track(pairs, f"{model.name} on {name}"))
        rows.append((name, model.name, scores))
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            write_csv(scores, output / f"{model.name}_{name}.csv")
            cv2.imwrite(str(output / f"{model.name}_{name}.png"), before_after(engine, pairs, scores))
    return rows
