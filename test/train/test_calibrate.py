"""Calibrated probabilities are as often right as they say."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from derain_ros.data.views import UNKNOWN  # noqa: E402
from derain_ros.evaluate.alarm_figures import calibration_error  # noqa: E402
from derain_ros.train.calibrate import calibrate  # noqa: E402


def _overconfident(count: int, factor: float, offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, 1) that are `factor` times too large and `offset` too high, and labels (n, 1)."""
    rng = np.random.default_rng(0)
    true = rng.normal(0.0, 2.0, count)
    labels = rng.random(count) < 1 / (1 + np.exp(-true))
    return torch.tensor(factor * true + offset)[:, None], torch.tensor(labels.astype(np.int8))[:, None]


def test_too_sure_a_class_is_brought_down() -> None:
    logits, labels = _overconfident(20000, 4.0, 3.0)
    found = calibrate(logits, labels)
    assert found["scale"][0] == pytest.approx(0.25, rel=0.1)
    assert found["shift"][0] == pytest.approx(-0.75, rel=0.15)
    said = (logits[:, 0] * found["scale"][0] + found["shift"][0]).sigmoid().numpy()
    truth = labels[:, 0].numpy() == 1
    assert (
        calibration_error(said, truth).value
        < 0.02
        < 0.1
        < calibration_error(logits[:, 0].sigmoid().numpy(), truth).value
    )


def test_unknown_labels_count_for_nothing() -> None:
    logits, labels = _overconfident(2000, 4.0, 3.0)
    more = torch.cat([logits, torch.full((500, 1), 50.0)])
    unknown = torch.cat([labels, torch.full((500, 1), UNKNOWN, dtype=torch.int8)])
    assert calibrate(more, unknown) == calibrate(logits, labels)


def test_perfect_answers_do_not_grow_without_bound() -> None:
    logits = torch.tensor([-8.0, -9.0, 8.0, 9.0])[:, None]
    assert calibrate(logits, (logits > 0).to(torch.int8))["scale"][0] < 2.0


def test_a_class_seen_on_one_side_only_is_left_alone() -> None:
    logits = torch.randn(50, 2)
    labels = torch.stack([torch.ones(50), torch.full((50,), float(UNKNOWN))], 1).to(torch.int8)
    assert calibrate(logits, labels) == {"scale": [1.0, 1.0], "shift": [0.0, 0.0]}
