"""From a detector's checkpoint to models, figures and a card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_pictures import write_own_pictures

pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.manifest import Manifest  # noqa: E402
from derain_ros.publish import detector as publishing  # noqa: E402
from derain_ros.resources import model_dir  # noqa: E402
from derain_ros.train.detector import DetectRecipe, train  # noqa: E402
from derain_ros.train.loop import Machine  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_exports")

CPU = Machine("cpu", precision="32-true")
TINY = DetectRecipe(
    views=16, renewed=4, calibration_views=8, steps=2, validate_every=2, batch=8, start_from="detect_float"
)


def test_a_tuned_detector_gets_figures_and_a_card_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "RANGE_VIEWS", 8)
    monkeypatch.setattr(
        publishing, "evaluate", lambda engine, data, real=publishing.evaluate: real(engine, data, views=12)
    )
    data, models = write_own_pictures(tmp_path / "mine"), tmp_path / "models"
    models.mkdir()
    (models / "detect.md").write_bytes((model_dir() / "detect.md").read_bytes())  # in a copy of the shipped models
    checkpoint = train(data, tmp_path / "run", TINY, CPU)
    report = publishing.publish_detector(checkpoint, "detect", models, data)
    manifest, card = Manifest.load(models), (models / "detect.md").read_text(encoding="utf-8")
    assert report is not None and list(manifest.models) == ["detect", "detect_float"]
    for model in manifest.models.values():
        manifest.verify(model)
        assert manifest.figures(model)["own_false_alarms"] in (0.0, 0.5, 1.0) and model.card == "detect.md"
        assert model.network == "detect", "eight bits and floating point are one network"
    assert "It began with the weights of detect_float (sha256 " in card and "DATA held 14 clean pictures of own" in card
    assert card.count("| own_false_alarms |") == 2 and "MSRS" not in card and "Not measured" not in card
    # Without data there are no figures, and none of another detector are left.
    again = train(data, tmp_path / "again", replace(TINY, seed=2, start_from=""), CPU)
    assert publishing.publish_detector(again, "detect", models, None) is None
    card = (models / "detect.md").read_text(encoding="utf-8")
    assert "began with" not in card and "own_false_alarms" not in card and card.count("Not measured.") == 1
    assert card.startswith("# detect\n") and "in floating point" in card
    # Nor need there be a folder.
    publishing.publish_detector(again, "mine", tmp_path / "new/models", None)
    assert (tmp_path / "new/models/mine.md").is_file() and Manifest.load(tmp_path / "new/models").get("mine")
