"""The arithmetic of a detector's figures on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from derain_ros.evaluate.alarm_figures import (
    alarms_at_recall,
    area,
    auroc,
    calibration_error,
    overlap,
    share,
    threshold_of,
)


def test_auroc() -> None:
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.7, 0.8])
    assert auroc(high, low) == 1.0 and auroc(low, high) == 0.0
    assert auroc(low, low) == 0.5
    assert auroc(np.array([0.2, 0.9]), low) == pytest.approx((1.5 + 3) / 6)
    figure = area(np.array([0.2, 0.9]), low)
    assert figure.value == pytest.approx(0.75) and figure.low < 0.75 < figure.high and figure.samples == 5


def test_share_without_any_still_has_an_interval() -> None:
    none = share(np.zeros(100, bool))
    assert none.value == none.low == 0.0 and none.high == pytest.approx(0.037, abs=1e-3)
    half = share(np.arange(100) < 50)
    assert half.value == 0.5 and half.low == pytest.approx(0.404, abs=1e-3) == 1 - half.high
    assert share(np.zeros(0, bool)).samples == 0


def test_false_alarms_are_counted_where_the_recall_is_reached() -> None:
    wet, dry = np.linspace(0.505, 1.0, 100), np.array([0.1, 0.2, 0.3, 0.51, 0.6])
    assert threshold_of(wet, 1.0) == pytest.approx(0.505)
    threshold = threshold_of(wet, 0.98)
    assert np.mean(wet >= threshold) == pytest.approx(0.98)
    figure, at = alarms_at_recall(wet, dry, 0.98)
    assert at == threshold and figure.value == pytest.approx(0.2) and figure.samples == 5
    assert figure.low <= 0.2 <= figure.high


def test_overlap_weighs_by_cells() -> None:
    figure = overlap(np.array([1, 9]), np.array([2, 18]))
    assert figure.value == figure.low == figure.high == 0.5 and figure.samples == 2
    assert overlap(np.array([0, 9]), np.array([90, 10])).value == pytest.approx(0.09)


def test_calibration_error_is_the_distance_between_said_and_so() -> None:
    said = np.array([0.9] * 10 + [0.1] * 10)
    assert calibration_error(said, np.arange(20) < 10).value == pytest.approx(0.1)
    assert calibration_error(said, np.isin(np.arange(20), [*range(9), 19])).value == pytest.approx(0.0)
    assert calibration_error(said, np.arange(20) >= 10).value == pytest.approx(0.9)
    assert calibration_error(np.array([1.0]), np.array([True])).value == 0.0
