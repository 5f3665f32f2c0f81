"""Checkpoints of all times become networks again; what is none is told."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.nets.fast import FastRestorer  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.train import checkpoint  # noqa: E402


def test_the_averaged_weights_are_taken(tmp_path: Path) -> None:
    net, average = FastRestorer(3, 16, 1), FastRestorer(3, 16, 1)
    checkpoint.write(
        {"net": net.state_dict(), "average": average.state_dict(), "recipe": {"width": 16, "blocks": 1}},
        tmp_path / "a.pt",
    )
    loaded = checkpoint.load_network(tmp_path / "a.pt")
    assert torch.equal(loaded.stem.weight, average.stem.weight) and not loaded.training
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_checkpoints_of_earlier_versions(tmp_path: Path) -> None:
    printed = PrintedRestorer(3, enhancer=True, aggregation=False)
    torch.save({"net": printed.state_dict(), "recipe": {"enhancer": True, "aggregation": False}}, tmp_path / "a.pt")
    loaded = checkpoint.load_network(tmp_path / "a.pt")
    assert isinstance(loaded, PrintedRestorer) and not loaded.generator.aggregation


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"net": {}}, tmp_path / "other.pt")
    for name, told in (
        ("text.pt", "not a checkpoint"),
        ("missing.pt", "there is no such checkpoint, nor a shipped"),
        ("other.pt", "not a checkpoint"),
    ):
        with pytest.raises(DataError, match=f"{name}: {told}"):
            checkpoint.load_network(tmp_path / name)
