from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from derain_ros.frame import Anomaly
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.scene import Scene, rig
from derain_ros.runtime.judge import crosscheck
from derain_ros.runtime.judge.crosscheck import seen_by_one_eye

ON = 0.6


VIEW, CELLS = (136, 184), (17, 23)


@pytest.fixture(params=[(VIEW, CELLS), ((270, 360), (68, 90))], ids=["coarse", "fine"], autouse=True)
def detector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of a detector's view and mask; of the finer one the last row of cells is half outside."""
    monkeypatch.setattr(sys.modules[__name__], "VIEW", request.param[0])
    monkeypatch.setattr(sys.modules[__name__], "CELLS", request.param[1])


@pytest.fixture(scope="module")
def pairs() -> list[list[np.ndarray]]:
    """Both eyes' pictures of some moments of a drive."""
    scene = Scene(3)
    return [[scene.render(rig()[camera], seconds)[0] for camera in ("left", "right")] for seconds in (0.0, 2.0, 5.0)]


def with_drops(image: np.ndarray, seed: int, coverage: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """The picture through a wet lens, and where the drops are."""
    return LensDrops(*image.shape, np.random.default_rng(seed), coverage).apply(image)


def cells(mask: np.ndarray) -> np.ndarray:
    """A mask at the detector's resolution, of cells of which a fifth is covered."""
    return (
        (cv2.resize((mask > 0.5).astype(np.float32), CELLS[::-1], interpolation=cv2.INTER_AREA) > 0.2) * 255
    ).astype(np.uint8)


def check(images: list[np.ndarray], masks: list[np.ndarray], kind: str = "raindrop") -> list[Anomaly]:
    """What remains of anomalies with these masks, found in these pictures."""
    views = np.stack([cv2.resize(image, VIEW[::-1], interpolation=cv2.INTER_AREA) for image in images])[..., np.newaxis]
    anomalies = [
        Anomaly(kind if mask.any() else "clean", 0.95 if mask.any() else 0.1, float((mask > 0).mean()), mask)
        for mask in masks
    ]
    return seen_by_one_eye(views, anomalies, ON)


def poster(images: list[np.ndarray], disparity: int, level: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A picture of drops that hangs in the scene, so many pixels further to the left for the right eye."""
    picture = cv2.resize(images[1][100:400, 150:500], (240, 200), interpolation=cv2.INTER_AREA)
    drops = np.zeros(picture.shape, np.uint8)
    for x, y in ((40, 50), (110, 40), (190, 60), (60, 120), (140, 110), (90, 165), (200, 150)):
        cv2.circle(drops, (x, y), 26, 255, cv2.FILLED)
    picture = np.where(drops, cv2.GaussianBlur(picture[::-1], (0, 0), 4), picture)
    edge = cv2.morphologyEx(drops, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    picture = np.where(edge, picture // 2, picture)
    noise = np.random.default_rng(2)
    shown, masks = [], []
    for image, x, y in zip(images, (300, 300 - disparity), (180, 180 + level), strict=True):
        seen, mask = image.copy(), np.zeros(image.shape, np.uint8)
        # Two cameras differ in exposure and noise.
        exposed = picture * noise.uniform(0.85, 1.1) + noise.normal(0, 2, picture.shape)
        seen[y : y + 200, x : x + 240] = exposed.clip(0, 255)
        mask[y : y + 200, x : x + 240] = drops
        shown.append(seen)
        masks.append(cells(mask))
    return shown, masks


@pytest.mark.parametrize(("disparity", "level"), [(8, 0), (30, 0), (61, 0), (30, 8)])
def test_a_poster_with_drops_is_seen_by_both_eyes_and_not_flagged(
    pairs: list[list[np.ndarray]], disparity: int, level: int
) -> None:
    for images in pairs:
        shown, masks = poster(images, disparity, level)
        assert all((mask > 0).mean() > 0.02 for mask in masks)
        for anomaly in check(shown, masks):
            assert anomaly.kind == "clean" and anomaly.score < 0.4, (anomaly.score, anomaly.coverage)


@pytest.mark.parametrize("wet", [(0,), (1,), (0, 1)], ids=["left", "right", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_drops_on_one_lens_or_both_stay(pairs: list[list[np.ndarray]], wet: tuple[int, ...], seed: int) -> None:
    for images in pairs:
        masks = [np.zeros(CELLS, np.uint8)] * 2
        seen = list(images)
        for eye in wet:
            seen[eye], drops = with_drops(images[eye], 10 * seed + eye)
            masks[eye] = cells(drops)
        found = check(seen, masks)
        for eye in wet:
            assert found[eye].kind == "raindrop" and found[eye].score == 0.95
            assert found[eye].coverage >= 0.9 * (masks[eye] > 0).mean()


def test_drops_at_matching_places_of_both_lenses_stay(pairs: list[list[np.ndarray]]) -> None:
    for images in pairs:
        seen, masks = zip(*(with_drops(image, 10) for image in images), strict=True)
        assert [found.kind for found in check(list(seen), list(map(cells, masks)))] == ["raindrop"] * 2


def test_a_drop_beside_the_poster_is_all_that_remains(pairs: list[list[np.ndarray]]) -> None:
    shown, masks = poster(pairs[0], 30)
    drop = np.zeros(shown[0].shape, np.uint8)
    cv2.circle(drop, (120, 260), 60, 255, cv2.FILLED)
    shown[0] = np.where(drop, cv2.GaussianBlur(shown[0][::-1, ::-1], (0, 0), 5), shown[0])
    drops = cells(drop)
    left, right = check(shown, [masks[0] | drops, masks[1]])
    assert left.kind == "raindrop" and left.score == 0.95 and right.kind == "clean"
    assert np.array_equal(left.mask, drops)


def test_what_is_in_the_air_is_seen_by_both_eyes_and_stays(pairs: list[list[np.ndarray]]) -> None:
    shown, masks = poster(pairs[0], 30)
    for kind in ("streak", "night_rain"):
        assert [(found.kind, found.score) for found in check(shown, masks, kind)] == [(kind, 0.95)] * 2


def test_rain_in_the_air_of_one_eye_stays_where_the_other_sees_a_poster(pairs: list[list[np.ndarray]]) -> None:
    shown, masks = poster(pairs[0], 30)
    views = np.stack([cv2.resize(image, VIEW[::-1], interpolation=cv2.INTER_AREA) for image in shown])[..., np.newaxis]
    found = seen_by_one_eye(
        views,
        [
            Anomaly(kind, 0.95, float((mask > 0).mean()), mask)
            for kind, mask in zip(("raindrop", "streak"), masks, strict=True)
        ],
        ON,
    )
    assert [anomaly.kind for anomaly in found] == ["clean", "streak"]


def test_a_view_without_contrast_or_covered_as_a_whole_is_left_alone() -> None:
    flat = [np.full((540, 720), 90, np.uint8)] * 2
    some = np.zeros(CELLS, np.uint8)
    some[CELLS[0] // 4 : CELLS[0] // 2, CELLS[0] // 4 : CELLS[0] // 2] = 255
    assert [found.kind for found in check(flat, [some, some])] == ["raindrop"] * 2
    noise = np.random.default_rng(5).integers(0, 256, (540, 720), np.uint8)
    textured = [cv2.GaussianBlur(noise, (0, 0), 6)] * 2
    assert [found.kind for found in check(textured, [some, some])] == ["clean"] * 2
    whole = np.full(CELLS, 255, np.uint8)
    assert [found.kind for found in check(textured, [whole, whole])] == ["raindrop"] * 2


def test_clean_eyes_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosscheck, "_Edges", lambda view, shrink: 1 / 0)
    anomalies = [Anomaly("clean", 0.1, 0.0, np.zeros(CELLS, np.uint8))] * 2
    assert seen_by_one_eye(np.zeros((2, *VIEW, 1), np.uint8), anomalies, ON) == anomalies


@pytest.mark.parametrize(
    ("alarm", "seconds", "lens", "checked"),
    [
        (True, (0.0, 0.1, 0.4, 0.5, 0.6, 1.0), True, (0.0, 0.5, 1.0)),
        (False, (0.0, 0.1, 0.2), True, (0.0, 0.1, 0.2)),
        (True, (0.0, 0.1, 0.2), False, (0.0, 0.1, 0.2)),
        (True, (5.0, 5.1, 9.0), True, (5.0, 9.0)),
    ],
)
def test_what_is_on_the_lens_is_looked_at_again_only_now_and_then(
    pairs: list[list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    alarm: bool,
    seconds: tuple[float, ...],
    lens: bool,
    checked: tuple[float, ...],
) -> None:
    if lens:
        images, masks = zip(*(with_drops(image, seed) for seed, image in enumerate(pairs[0])), strict=True)
    else:
        images, masks = poster(pairs[0], 20)
    views = np.stack([cv2.resize(image, VIEW[::-1], interpolation=cv2.INTER_AREA) for image in images])[..., np.newaxis]
    found = [Anomaly("raindrop", 0.95, float((cells(mask) > 0).mean()), cells(mask)) for mask in masks]
    looked: list[float] = []
    now = 0.0

    def look(*given: object) -> list[Anomaly]:
        looked.append(now)
        return seen_by_one_eye(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(crosscheck, "seen_by_one_eye", look)
    check = crosscheck.CrossCheck()
    for now in seconds:
        kinds = {anomaly.kind for anomaly in check.check(views, found, ON, round(now * 1e9), alarm)}
        assert kinds == {"raindrop" if lens else "clean"}
    assert tuple(looked) == checked


def test_an_alarm_of_what_is_in_the_scene_does_not_last_for_want_of_a_look(pairs: list[list[np.ndarray]]) -> None:
    images, masks = poster(pairs[0], 20)
    views = np.stack([cv2.resize(image, VIEW[::-1], interpolation=cv2.INTER_AREA) for image in images])[..., np.newaxis]
    found = [Anomaly("raindrop", 0.95, float((cells(mask) > 0).mean()), cells(mask)) for mask in masks]
    nothing = [Anomaly("clean", 0.1, 0.0, np.zeros_like(cells(masks[0])))] * 2
    check = crosscheck.CrossCheck()
    for n, anomalies in enumerate((nothing, found, nothing, found)):
        assert {a.kind for a in check.check(views, anomalies, ON, n * 50_000_000, True)} == {"clean"}
