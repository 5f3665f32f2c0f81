"""The table of tasks against what the shipped models are."""

from __future__ import annotations

import pytest

from derain_ros.engine import load
from derain_ros.engine.images import blank
from derain_ros.manifest import Manifest, Model
from derain_ros.tasks import TASKS

MODELS = [model for model in Manifest.load().models.values() if model.precision == "float32"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_gives_what_its_task_says(model: Model) -> None:
    task = TASKS[model.task]
    height, width = model.size or (2 * model.stride, 3 * model.stride)
    outputs = load(model, "onnxruntime", 1).run(**blank(model, (1, height, width)))
    assert model.channels in task.channels
    assert set(task.outputs) <= set(outputs) <= {*task.outputs, *task.optional}
    shapes = {
        "image": (1, height, width, model.channels),
        "mask": (1, height, width),
        "classes": (1, len(model.classes)),
    }
    for name, output in task.outputs.items():
        assert outputs[name].dtype == task.dtype
        assert output.shape == "other" or outputs[name].shape == shapes[output.shape]


def test_every_task_has_a_model() -> None:
    assert {model.task for model in MODELS} == set(TASKS)
