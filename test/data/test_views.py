"""Labelled views: labels, cells and severity tell the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_pictures import write_own_pictures, write_pictures

pytest.importorskip("torch")

from derain_ros.data import views as views_module
from derain_ros.data.pictures import find_pictures  # noqa: E402
from derain_ros.data.views import (  # noqa: E402
    IGNORED,
    MIX,
    SEVERAL,
    SOURCES,
    UNKNOWN,
    WHOLE,
    View,
    cells_of,
    draw_view,
    kinds,
    lost,
    per_cell,
)
from derain_ros.nets.detector import CELL, CELLS, CLASSES, SIZE  # noqa: E402

THERE = {
    "clean": {"clean"},
    "spoiled": {"clean"},
    "raindrop": {"raindrop"},
    "real drops": {"raindrop"},
    "dirt": {"dirt"},
    "streak": {"streak"},
    "night_rain": {"night_rain"},
    "real rain": {"streak"},
    "several": {name for names in SEVERAL for name in names},
}


@pytest.fixture(scope="module")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data"))


def _views(data: Path, kind: str, count: int = 16) -> list[View]:
    pictures = find_pictures(data, "train")
    return [draw_view(pictures, np.random.default_rng((1, number)), kind) for number in range(count)]


def test_shares_sum_to_one() -> None:
    assert sum(MIX.values()) == pytest.approx(1.0) and sum(SOURCES.values()) == pytest.approx(1.0)


def test_of_ones_own_pictures_is_drawn_what_they_are_enough_for(pictures_folder: Path, tmp_path: Path) -> None:
    pictures = find_pictures(write_own_pictures(tmp_path / "mine"), "train")
    shares = kinds(pictures)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == set(MIX) - {"real drops", "real rain"} | {"labelled"}
    assert shares["dirt"] / shares["clean"] == pytest.approx(MIX["dirt"] / MIX["clean"])
    assert kinds(find_pictures(pictures_folder, "train")) == pytest.approx(MIX)
    for kind in shares:
        view = draw_view(pictures, np.random.default_rng(1), kind)
        if kind == "labelled":
            assert list(view.labels) == [int(name == "raindrop") for name in CLASSES]
            assert (view.cells == IGNORED).all() and view.severity == IGNORED  # where, and how bad, nobody has said


@pytest.mark.parametrize("kind", list(MIX))
def test_views_are_labelled(pictures_folder: Path, kind: str) -> None:
    views = _views(pictures_folder, kind)
    for view in views:
        assert view.image.shape == SIZE and view.image.dtype == np.uint8
        assert view.cells.shape == CELLS and view.cells.dtype == np.uint8
        assert view.labels.shape == (len(CLASSES),) and set(view.labels) <= {0, 1, UNKNOWN}
        there = {name for name, label in zip(CLASSES, view.labels, strict=True) if label == 1}
        assert there <= THERE[kind]
        assert view.labels[0] == (UNKNOWN if not there else int(there == {"clean"}))
        assert 0 <= view.severity <= WHOLE and 0.0 <= view.coverage <= 1.0
        assert not (there - {"clean"}) or (view.cells > 0).any()
    told = [view for view in views if view.labels[0] != UNKNOWN]
    assert len(told) >= len(views) // 4
    affected = np.mean([np.mean((v.cells > WHOLE // 2) & (v.cells != IGNORED)) for v in told])
    if THERE[kind] == {"clean"}:
        assert affected == 0 and all(v.severity == 0 and v.coverage == 0 for v in views)
    else:
        assert affected > 0.003 and max(v.severity for v in views) > 0
    if kind == "several":
        assert any(sum(v.labels == 1) == 2 for v in views)


@pytest.mark.parametrize("kind", ["raindrop", "dirt", "streak", "night_rain", "several"])
def test_what_no_exposure_shows_is_neither_there_nor_not(
    pictures_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "exposure_table", lambda rng, strong: np.full(256, 255, np.uint8))
    for view in _views(pictures_folder, kind, 4):
        assert set(view.labels) <= {0, UNKNOWN} and view.labels[0] == UNKNOWN
        assert view.coverage == 0.0 and set(np.unique(view.cells)) <= {0, IGNORED}


def test_the_same_seed_draws_the_same_view(pictures_folder: Path) -> None:
    for kind in MIX:
        one, other = _views(pictures_folder, kind, 2), _views(pictures_folder, kind, 2)
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.image, b.image) and np.array_equal(a.cells, b.cells)
            assert np.array_equal(a.labels, b.labels) and a.severity == b.severity
        assert not np.array_equal(one[0].image, one[1].image)


def test_cells_are_means_of_their_pixels() -> None:
    share = np.zeros(SIZE, np.float32)
    share[8:12, 20:24] = 1.0
    share[-2:] = 1.0
    cells = per_cell(share)
    assert cells.shape == CELLS and cells[2, 5] == 1.0 and cells[:-1].sum() == 1.0
    assert (cells[-1] == 1.0).all(), "the half cells of the last row count as whole"
    assert CELL * CELLS[0] - SIZE[0] == 2


def test_what_is_lost_is_the_structure_less_what_drowns_in_noise() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, SIZE, dtype=np.uint8)
    half = image.copy()
    half[:, : SIZE[1] // 2] = 128
    assert lost(image, image).max() < 1e-6
    gone = lost(half, image)
    assert gone[:, : SIZE[1] // 2 - 8].mean() > 0.9 and gone[:, SIZE[1] // 2 + 8 :].max() < 1e-6
    faint = np.full(SIZE, 100, np.uint8)
    faint[::2] = 112
    assert lost(faint, np.full(SIZE, 106, np.uint8)).mean() > 0.2
    assert lost(faint, np.full(SIZE, 106, np.uint8), noise=200.0).mean() < 0.05


def test_cells_where_nothing_can_be_seen_are_not_asked_for() -> None:
    cover, gone = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    cover[:80], gone[:40] = 1.0, 0.5
    cells = cells_of(cover, gone)
    assert (cells[:10] == WHOLE).all() and (cells[10:20] == IGNORED).all() and (cells[20:] == 0).all()
