"""Labelled views: the split is kept, and labels and cells tell the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_data

pytest.importorskip("torch")

from derain_ros.nets.detector import CELL, CLASSES, SIZE  # noqa: E402
from derain_ros.train.data import DataError  # noqa: E402
from derain_ros.train.views import IGNORED, MIX, SOURCES, View, draw_view, find_pictures  # noqa: E402

LABELS = {"clean": 0, "spoiled": 0, "raindrop": 1, "real drops": 1, "dirt": 2, "streak": 3, "real streaks": 3}


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data folder."""
    return write_data(tmp_path_factory.mktemp("data"))


def _views(data: Path, kind: str, count: int = 12) -> list[View]:
    pictures = find_pictures(data, validation=False)
    return [draw_view(pictures, np.random.default_rng((1, number)), kind) for number in range(count)]


def test_shares_sum_to_one() -> None:
    assert sum(MIX.values()) == pytest.approx(1.0) and sum(SOURCES.values()) == pytest.approx(1.0)


def test_no_picture_is_on_both_sides_of_the_split(data_folder: Path) -> None:
    training, validation = (find_pictures(data_folder, validation=v) for v in (False, True))
    for source in SOURCES:
        assert training.clean[source] and validation.clean[source]
        assert not set(training.clean[source]) & set(validation.clean[source])
    assert {p.stem for p, _ in training.drops} == {"0_0_0", "800_26_1"}
    assert {p.stem for p, _ in validation.drops} == {"2400_80_1", "7200_240_3"}
    assert all(wet.name == dry.name and wet != dry for wet, dry in training.drops + training.streaks)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        find_pictures(tmp_path, validation=False)


@pytest.mark.parametrize("kind", list(MIX))
def test_views_are_labelled(data_folder: Path, kind: str) -> None:
    views = _views(data_folder, kind)
    assert {v.label for v in views} <= {LABELS[kind], -1}
    assert sum(v.label == LABELS[kind] for v in views) >= len(views) // 3
    for view in views:
        assert view.image.shape == SIZE and view.image.dtype == np.uint8
        assert view.cells.shape == (SIZE[0] // CELL, SIZE[1] // CELL) and view.cells.dtype == np.uint8
        assert set(np.unique(view.cells)) <= {0, 1, IGNORED}
    affected = np.mean([np.mean(v.cells == 1) for v in views])
    assert affected == 0 if CLASSES[LABELS[kind]] == "clean" else affected > 0.02
    if kind in ("raindrop", "dirt"):  # of all coverages
        assert 0.2 < np.mean([np.mean(v.cells == 0) for v in views]) < 0.9


def test_the_same_seed_draws_the_same_view(data_folder: Path) -> None:
    for kind in MIX:
        one, other = _views(data_folder, kind, 2), _views(data_folder, kind, 2)
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.image, b.image) and a.label == b.label and np.array_equal(a.cells, b.cells)
        assert not np.array_equal(one[0].image, one[1].image)
