"""What the commands that measure restorers share: the model that is meant, and its figures on sets of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from derain_ros.engine import Engine
    from derain_ros.evaluate.restoration import EvaluationPair, Score
    from derain_ros.manifest import Model


def model_named(name: str, models: Path | None, task: str = "restore") -> Model:
    """The model of that name and task in the manifest of `models`, its file verified."""
    from derain_ros.evaluate.restoration import EvaluationError
    from derain_ros.manifest import Manifest
    from derain_ros.tasks import TASKS

    manifest = Manifest.load(models)
    model = manifest.get(name)
    if model.task != task:
        raise EvaluationError(f"{name}: its task is to {TASKS[model.task].does}; name a {TASKS[task].called}")
    manifest.verify(model)
    typer.echo(f"{name}: {model.file}", err=True)  # several folders may hold one of that name
    return model


def restorer_named(name: str, models: Path | None) -> Engine:
    """The restorer of that name in the manifest of `models`, or of an ONNX file, loaded to be measured."""
    from derain_ros.engine import load
    from derain_ros.evaluate.onnx_file import OnnxFile

    return OnnxFile(Path(name)) if name.endswith(".onnx") else load(model_named(name, models))


def segmenter_named(name: str, models: Path | None) -> Engine:
    """The segmenter of that name in the manifest of `models`, or of an ONNX file that says its classes, loaded."""
    from importlib.util import find_spec

    from derain_ros.engine import load
    from derain_ros.evaluate.onnx_file import segmenter_of

    model = segmenter_of(Path(name)) if name.endswith(".onnx") else model_named(name, models, "segment")
    return load(model, "openvino" if find_spec("openvino") else "onnxruntime")


def figures_of(
    engine: Engine, sets: Mapping[str, Sequence[EvaluationPair]], output: Path | None
) -> list[tuple[str, str, list[Score]]]:
    """The restorer's figures on each set, as rows (set, model, scores), with progress shown.

    Below the folder `output` each row gets a CSV of its images and a sheet to look at.
    """
    import cv2
    from rich.progress import track

    from derain_ros.evaluate.restoration import evaluate, write_csv
    from derain_ros.evaluate.sheet import before_after

    model, rows = engine.model, []
    for name, pairs in sets.items():
        scores = evaluate(engine, track(pairs, f"{model.name} on {name}"))
        rows.append((name, model.name, scores))
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            write_csv(scores, output / f"{model.name}_{name}.csv")
            cv2.imwrite(str(output / f"{model.name}_{name}.png"), before_after(engine, pairs, scores))
    return rows
