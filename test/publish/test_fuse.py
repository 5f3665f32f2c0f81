"""A checkpoint becomes two fusers of the manifest, measured and with a card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tiny_fusion import write_pairs

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("onnxscript")
pytest.importorskip("pywt", reason="figures of fused images need the extra `train`")

from typer.testing import CliRunner  # noqa: E402

from derain_ros.cli.main import app  # noqa: E402
from derain_ros.engine import load  # noqa: E402
from derain_ros.evaluate.fusion_held_out import fuse  # noqa: E402
from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.nets.fuse import Fuser  # noqa: E402
from derain_ros.publish import fuse as publishing  # noqa: E402
from derain_ros.publish.fuse import publish_fuser  # noqa: E402
from derain_ros.train.fuse import FuseRecipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_exports")


def write_checkpoint(path: Path, **recipe: object) -> Path:
    """A small fuser with random weights, as training leaves one."""
    path.parent.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net = Fuser(16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = net.state_dict()
    torch.save(
        {
            "task": "fuse",
            "net": state,
            "average": state,
            "step": 7,
            "data": ["9 pairs of msrs"],
            "recipe": asdict(FuseRecipe(width=16, **recipe)),
        },
        path,
    )  # type: ignore[arg-type]
    return path


def test_both_precisions_are_entered_with_figures_and_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CALIBRATION", 4)
    data, models = write_pairs(tmp_path / "data"), tmp_path / "models"
    first = write_checkpoint(tmp_path / "first/last.pt", steps=900)
    last = write_checkpoint(tmp_path / "runs/last.pt", steps=300, start_from=str(first))
    figures = publish_fuser(last, "fuse", models, data)
    manifest = Manifest.load(models)
    assert set(manifest.models) == {"fuse", "fuse_float"}
    eight, full = manifest.get("fuse"), manifest.get("fuse_float")
    for model, precision in ((eight, "int8"), (full, "float32")):
        manifest.verify(model)
        assert (model.task, model.network, model.precision, model.channels) == ("fuse", "fuse", precision, 1)
        assert model.card == "fuse.md"
    # Of the tiny folder nothing tells day from night; TNO is not in it.
    assert {key.split("_")[0] for key in figures} == {"road", "night", "psnr"} and 0 < figures["road_qabf"] < 1
    assert figures["psnr_to_float"] > 30
    card = (models / "fuse.md").read_text()
    assert "Phase 1, 7 steps" in card and "{steps: 900, width: 16}" in card
    assert "Phase 2, from the weights of phase 1, 7 steps" in card and "9 pairs of msrs" in card
    assert all(f"| {method} |" in card for method in ("fuse", "fuse_float", "maximum", "guided"))
    assert "0.08 M parameters" in card
    images = [np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8) for _ in range(2)]
    ours, theirs = (fuse(load(model), *images) for model in (eight, full))
    assert ours.shape == (50, 70) and np.abs(ours.astype(int) - theirs).mean() < 3


def test_without_data_it_is_exported_alone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "runs/last.pt")
    result = CliRunner().invoke(app, ["export", str(checkpoint), "fuse", "--models", str(tmp_path / "models")])
    assert result.exit_code == 0, result.output
    model = Manifest.load(tmp_path / "models").get("fuse")
    assert model.precision == "float32" and "Not measured." in (tmp_path / "models/fuse.md").read_text()
    again = ["quantize", "fuse", "--data", str(tmp_path), "--models", str(tmp_path / "models")]
    result = CliRunner().invoke(app, again)
    assert result.exit_code == 1 and "a fuser is quantised by `derain export` with --data" in result.output
    result = CliRunner().invoke(app, ["export", str(checkpoint), "fuse", "--grey"])
    assert result.exit_code == 2 and "the fuser already takes grey images" in result.output
