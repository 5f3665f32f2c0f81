"""Paper 2's stages on a few streets: what learns in each, what is frozen, checkpoints, and what does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tiny_streets import write_streets

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("efficientnet_lite_pytorch", reason="the backbone needs the extra `train`")

from lightning_fabric import Fabric  # noqa: E402

from derain_ros.data.labelled import CAMVID  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.segmentation import Segmenter  # noqa: E402
from derain_ros.publish.export import ExportError, task_of  # noqa: E402
from derain_ros.train.loop import Machine, train_phases  # noqa: E402
from derain_ros.train.segmentation import SegmentRecipe  # noqa: E402
from derain_ros.train.task_driven import (  # noqa: E402
    TaskDrivenLearner,
    TaskDrivenRecipe,
    load_task_driven,
    train,
)

CPU = Machine("cpu", precision="32-true")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_streets(tmp_path_factory.mktemp("streets"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TaskDrivenRecipe:
    """Stage I on small networks; its segmenter has random weights."""
    torch.manual_seed(0)
    path, net = tmp_path_factory.mktemp("segmenter") / "last.pt", Segmenter(len(CAMVID), width=16)
    state = net.state_dict()
    recipe = asdict(SegmentRecipe(width=16))
    torch.save({"task": "segment", "net": state, "average": state, "recipe": recipe, "classes": list(CAMVID)}, path)
    return TaskDrivenRecipe(
        attention=6,
        units=(1, 1, 1, 1),
        coarse=4,
        refine=4,
        batch=2,
        crop=32,
        steps=4,
        warm_up=1,
        validate_every=2,
        semantic=0.0,
        segmenter=str(path),
    )


def test_both_stages_are_trained(data: Path, tiny: TaskDrivenRecipe, tmp_path: Path) -> None:
    phases = [tiny, replace(tiny, stage="refine", semantic=1.0)]
    last = train_phases(lambda recipe, folder: train(data, folder, recipe, CPU), tmp_path, phases)
    parts = {}
    for folder in ("1", "2"):
        lines = [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [2, 4] and all(math.isfinite(line["psnr"]) for line in lines)
        parts[folder] = set(lines[-1])
    assert {"attention", "coarse"} <= parts["1"] and not {"refined", "semantic"} & parts["1"]
    assert {"refined", "semantic"} <= parts["2"] and not {"attention", "coarse"} & parts["2"]
    first, second = load_task_driven(tmp_path / "1/last.pt"), load_task_driven(last)
    assert first.refine is None and second.refine is not None
    before, after = first.state_dict(), second.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()), "A and C are frozen in stage II"
    with pytest.raises(ExportError, match="task task-driven, which is measured by `derain table`"):
        task_of(last)
    # A training found whole is used as it is.
    written = last.stat().st_mtime_ns
    assert train(data, tmp_path / "2", replace(phases[1], start_from=str(tmp_path / "1/last.pt")), CPU) == last
    assert torch.load(last, weights_only=True)["step"] == 4 and last.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("stage", "semantic", "parts"),
    [
        ("coarse", 0.0, {"attention", "coarse"}),
        ("coarse", 1.0, {"attention", "coarse", "semantic"}),
        ("joint", 1.0, {"attention", "coarse", "refined", "semantic"}),
    ],
)
def test_each_stage_has_its_losses(
    data: Path, tiny: TaskDrivenRecipe, stage: str, semantic: float, parts: set[str]
) -> None:
    learner = TaskDrivenLearner(replace(tiny, stage=stage, semantic=semantic), data, Fabric(accelerator="cpu"), 0)
    batch = next(iter(learner.batches(0)))
    losses = learner.losses(batch)
    assert set(losses) == parts
    sum(losses.values()).backward()
    without = [name for name, p in learner.net.named_parameters() if p.grad is None]
    assert without == [], "all that the stage has learns"
    assert learner.segmenter is None or all(p.grad is None for p in learner.segmenter.parameters())
    again = next(iter(learner.batches(0)))
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True)), "samples are of the step alone"


def test_the_coarse_network_learns(data: Path, tiny: TaskDrivenRecipe, tmp_path: Path) -> None:
    train(data, tmp_path, replace(tiny, steps=24, validate_every=12, learning_rate=8e-3), CPU)
    first, last = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert last["loss"] < first["loss"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stage": "wash"}, "'wash' is none of coarse, refine, joint"),
        ({"crop": 30}, "crop: 30 is not a multiple of 16"),
        ({"units": (1, 1)}, r"units: \[1, 1\] are not four"),
        ({"semantic": -1.0}, "semantic: -1.0 is below 0"),
    ],
)
def test_recipes_that_do_not_fit_are_told(tiny: TaskDrivenRecipe, values: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        replace(tiny, **values)  # type: ignore[arg-type]


def test_the_second_stage_needs_the_first(data: Path, tiny: TaskDrivenRecipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the checkpoint of the stage before"):
        train(data, tmp_path, replace(tiny, stage="refine"), CPU)
    torch.save({"net": {}, "recipe": {}, "task": "fuse"}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="holds no such cascade"):
        train(data, tmp_path, replace(tiny, stage="refine", start_from=str(tmp_path / "other.pt")), CPU)
    first = train(data, tmp_path / "1", replace(tiny, steps=1), CPU)
    for stage, wider in (("refine", {"coarse": 8}), ("joint", {})):
        with pytest.raises(DataError, match="last.pt: has not the parts of the network to be trained"):
            train(data, tmp_path / "2", replace(tiny, stage=stage, start_from=str(first), **wider), CPU)


def test_processes_draw_the_same_samples(data: Path, tiny: TaskDrivenRecipe) -> None:
    here, there = (
        list(TaskDrivenLearner(tiny, data, Fabric(accelerator="cpu"), workers).batches(1)) for workers in (0, 2)
    )
    assert len(here) == len(there) == tiny.steps - 1
    assert all(
        torch.equal(a, b) for one, other in zip(here, there, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_gradients_go_through_the_shipped_segmenter_that_is_the_default() -> None:
    model = Manifest.load().get(TaskDrivenRecipe().segmenter)
    assert (model.task, model.precision) == ("segment", "float32")
