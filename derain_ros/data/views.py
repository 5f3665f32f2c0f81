"""Labelled views for the detector: clean pictures, synthetic anomalies on them, and real anomalies."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from derain_ros.data.negatives import exposure_table, spoil_scene, spoil_signal
from derain_ros.data.pictures import Pictures, is_night, read_grey
from derain_ros.nets.detector import CELL, CELLS, CLASSES, SIZE
from derain_ros.rain.dirt import LensDirt
from derain_ros.rain.drops import LensDrops
from derain_ros.rain.night import NightLight, NightRain
from derain_ros.rain.soiled import SoiledLens, read_soil
from derain_ros.rain.streaks import RainStreaks

UNKNOWN = -1
"""Label of a class that is neither present nor absent: it was added, but is hardly visible."""

IGNORED = 255
"""Value of a cell or a severity that is not known."""

WHOLE = 254
"""Value of a fully affected cell, and of a severity of 1."""

MIX = {
    "clean": 0.26,
    "spoiled": 0.14,
    "raindrop": 0.22,
    "dirt": 0.18,
    "streak": 0.04,
    "night_rain": 0.04,
    "several": 0.06,
    "real drops": 0.04,
    "real rain": 0.02,
}
"""Share of each kind of view in training; `spoiled` is a clean lens with a hard negative of `negatives`."""

LABELLED = 0.2
"""Share of the user's own pictures with a known anomaly, relative to the shares of MIX, if there are any."""

SPOILED = 0.3
"""Share of the rendered anomalies on a spoiled scene, and of those with a strong exposure: about as among clean views.
With fewer, the network learns that a sharp picture is a sign of drops."""

SOILED = 0.5
"""Share of the dirt that is cut out of photographs, if there are any; the rest is rendered."""

FALLING = ("streak", "night_rain")
"""Anomalies in the scene, not on the lens."""

VISIBLE, FAINT = 0.25, 0.1
"""Share of lost local structure above which an anomaly is visible, and below which nothing is visible."""

SOURCES = {"camvid": 0.21, "bsds500": 0.25, "msrs": 0.17, "llvip": 0.03, "roadscene": 0.11, "real": 0.11, "froth": 0.12}
"""Share of each source among the clean pictures; the user's own pictures are not mixed with other sources."""

SEVERAL = (("raindrop", "streak"), ("raindrop", "night_rain"), ("raindrop", "dirt"), ("dirt", "streak"))
"""Anomalies that may occur together."""


@dataclass(frozen=True)
class View:
    """One sample.

    `image` grey uint8 of SIZE; `labels` int8 (K,) by class: 1 present, 0 absent, UNKNOWN; `cells` uint8 of CELLS:
    affected share from 0 to WHOLE, or IGNORED; `severity` likewise. `coverage`: share of the frame that is visibly
    covered; 1 for the user's labelled pictures, where it is not known.
    """

    image: np.ndarray
    labels: np.ndarray
    cells: np.ndarray
    severity: int
    coverage: float


@dataclass
class _Scene:
    """A view while it is rendered.

    `affected`, `clean`: the picture with and without the anomalies. `cover` (H, W) in [0, 1]: the share they cover.
    `layers`: for each kind the picture before and after it was added.
    """

    affected: np.ndarray
    clean: np.ndarray
    cover: np.ndarray
    layers: dict[str, tuple[np.ndarray, np.ndarray]]


def to_detector(image: np.ndarray) -> np.ndarray:
    """A grey (H, W) uint8 image resized to SIZE, as the runtime does it."""
    return cv2.resize(image, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)


def kinds(pictures: Pictures) -> dict[str, float]:
    """Shares, which sum to 1, of the kinds of view that these pictures allow: those of MIX, and `labelled`."""
    lacks = {"real drops": not pictures.drops, "real rain": not pictures.streaks}
    found = {
        kind: share
        for kind, share in {**MIX, "labelled": LABELLED * bool(pictures.labelled)}.items()
        if share and not lacks.get(kind)
    }
    return {kind: share / sum(found.values()) for kind, share in found.items()}


def draw_kind(pictures: Pictures, rng: np.random.Generator) -> str:
    """One of the `kinds`, drawn with their shares as probabilities."""
    shares = kinds(pictures)
    return str(rng.choice(list(shares), p=list(shares.values())))


def draw_view(pictures: Pictures, rng: np.random.Generator, kind: str | None = None) -> View:
    """One random view; `kind` is one of `kinds`, drawn by `draw_kind` if none is given."""
    kind = kind or draw_kind(pictures, rng)
    if kind == "labelled":
        name = str(rng.choice(list(pictures.labelled)))
        return _labelled(read_grey(pictures.labelled[name][int(rng.integers(len(pictures.labelled[name])))]), name, rng)
    if kind == "real drops":
        pair = _crop([read_grey(p) for p in pictures.drops[int(rng.integers(len(pictures.drops)))]], rng)
        return _real((pair[0], pair[1]), "raindrop", rng)
    if kind == "real rain":
        paths = pictures.streaks[int(rng.integers(len(pictures.streaks)))]
        pair = _crop([read_grey(p) for p in paths], rng)
        return _real((pair[0], pair[1]), "night_rain" if is_night(paths[1]) else "streak", rng)
    clean = _crop([_clean_picture(pictures, rng)], rng)[0]
    clean_glass = kind in ("clean", "spoiled")
    strong = kind == "spoiled" or not clean_glass and rng.random() < SPOILED
    if kind == "spoiled" and rng.random() < 0.8 or not clean_glass and rng.random() < SPOILED:
        clean = spoil_scene(clean, _clean_picture(pictures, rng), rng)
    if clean_glass:
        image = to_detector(exposure_table(rng, strong)[clean])
        labels = np.array([int(name == "clean") for name in CLASSES], np.int8)
        return View(spoil_signal(image, rng, strong), labels, np.zeros(CELLS, np.uint8), 0, 0.0)
    added = SEVERAL[int(rng.integers(len(SEVERAL)))] if kind == "several" else (kind,)
    return _finish(_render(clean, added, pictures, rng), rng, strong)


def _render(clean: np.ndarray, added: tuple[str, ...], pictures: Pictures, rng: np.random.Generator) -> _Scene:
    """Render the anomalies `added`: first rain by night or day in the scene, then dirt and drops on the lens."""
    outlines = pictures.outlines
    height, width = clean.shape
    scene = _Scene(clean, clean, np.zeros(clean.shape, np.float32), {})
    if "night_rain" in added:
        night = NightRain(height, width, rng, float(np.exp(rng.uniform(np.log(0.15), 0.0))))
        _lay(scene, "night_rain", *night.apply(clean))
        scene.clean = night.lamps.apply(clean)
    elif rng.random() < 0.1:
        scene.clean = scene.affected = NightLight(height, width, rng, wet=float(rng.uniform(0.0, 0.5))).apply(clean)
    if "streak" in added:
        streaks = RainStreaks(height, width, rng, float(np.exp(rng.uniform(np.log(0.1), 0.0))))
        _lay(scene, "streak", *streaks.apply(scene.affected))
    if "dirt" in added:
        dirt: LensDirt | SoiledLens
        if pictures.soil and rng.random() < SOILED:
            dirt = SoiledLens(height, width, rng, [read_soil(*paths) for paths in pictures.soil])
        else:
            dirt = LensDirt(height, width, rng, float(np.exp(rng.uniform(np.log(0.015), np.log(0.8)))))
        _lay(scene, "dirt", *dirt.apply(scene.affected))
    if "raindrop" in added:
        outlined = rng.random() < 0.4 and outlines
        chosen = [outlines[i] for i in rng.integers(len(outlines), size=12)] if outlined else None
        coverage = float(np.exp(rng.uniform(np.log(0.006), np.log(0.6)))) if rng.random() < 0.6 else None
        glass = LensDrops(height, width, rng, coverage, outlines=chosen)
        _lay(scene, "raindrop", *glass.apply(scene.affected))
    return scene


def _lay(scene: _Scene, kind: str, image: np.ndarray, alpha: np.ndarray) -> None:
    """Add a layer with opacity `alpha` (H, W) in [0, 1] to the scene."""
    # Streaks are thin: they affect their neighbourhood.
    share = np.minimum(1.0, 2.5 * cv2.blur(alpha, (3 * CELL, 3 * CELL))) if kind in FALLING else alpha
    scene.cover = np.maximum(scene.cover, share)
    scene.layers[kind] = scene.affected, image
    scene.affected = image


def _finish(scene: _Scene, rng: np.random.Generator, strong: bool) -> View:
    """The view of a rendered scene after exposure, scaling and noise; anomalies not visible then become UNKNOWN.

    Examples are drops before a blank sky or in the dark, and dirt below the noise, which hide nothing.
    """
    table = exposure_table(rng, strong)
    image, other = to_detector(table[scene.affected]), to_detector(table[scene.clean])
    noisy = spoil_signal(image, rng, strong)
    noise = float(np.mean((noisy.astype(np.float32) - image) ** 2))
    labels = np.zeros(len(CLASSES), np.int8)
    for kind, (before, after) in scene.layers.items():
        changed = lost(to_detector(table[after]), to_detector(table[before]), noise)
        # Rain is faint but everywhere; drops and dirt are visible only where they are.
        seen = np.mean(changed > FAINT) > 0.05 if kind in FALLING else np.mean(changed > VISIBLE) > 0.01
        labels[CLASSES.index(kind)] = 1 if seen else UNKNOWN
    labels[0] = 0 if (labels == 1).any() else UNKNOWN
    cover = to_detector(scene.cover)
    gone = lost(image, other, noise)
    cells = cells_of(cover, gone)
    return View(noisy, labels, cells, round(WHOLE * float(gone.mean())), float(np.mean((cover > 0.3) & (gone > FAINT))))


def cells_of(cover: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The ground truth of the cells, from the covered share and from `lost`, both maps (H, W) of SIZE.

    A cell counts as fully affected from half of its area on. A cell whose cover is not visible is IGNORED.
    """
    cells = np.rint(WHOLE * np.clip((per_cell(cover) - 0.1) / 0.4, 0.0, 1.0)).astype(np.uint8)
    cells[(cells > 0) & (per_cell(gone) < FAINT)] = IGNORED
    return cells


def _real(pair: tuple[np.ndarray, np.ndarray], kind: str, rng: np.random.Generator) -> View:
    """The view of a real `pair` (affected, clean); the ground truth of the cells comes from their difference."""
    table = exposure_table(rng, False)
    image, other = (to_detector(table[part]) for part in pair)
    difference = cv2.absdiff(image, other).astype(np.float32)
    if kind == "raindrop":
        # The two real cameras are misaligned by a pixel and focused differently: only differences of whole cells count.
        share, low, high = per_cell(cv2.blur(difference, (3 * CELL, 3 * CELL))), 6.0, 16.0
    else:
        share, low, high = cv2.blur(per_cell((difference > 6).astype(np.float32)), (5, 5)), 0.02, 0.10
    cells = np.where(share > high, WHOLE, np.where(share < low, 0, IGNORED)).astype(np.uint8)
    visible = np.mean(difference > 8) > 0.02
    labels = np.array(
        [0 if visible else UNKNOWN, *((1 if visible else UNKNOWN) if name == kind else 0 for name in CLASSES[1:])],
        np.int8,
    )
    return View(
        spoil_signal(image, rng, False),
        labels,
        cells,
        round(WHOLE * float(lost(image, other).mean())),
        float(np.mean(cells == WHOLE)),
    )


def _labelled(picture: np.ndarray, kind: str, rng: np.random.Generator) -> View:
    """The view of a whole picture whose anomaly is known, but not where it is or how severe."""
    image = to_detector(exposure_table(rng, False)[picture])
    labels = np.array([int(name == kind) for name in CLASSES], np.int8)
    return View(spoil_signal(image, rng, False), labels, np.full(CELLS, IGNORED, np.uint8), IGNORED, 1.0)


def lost(image: np.ndarray, clean: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """The share of local structure of `clean` that is lost in `image`, both grey (H, W) uint8.

    It is 1 - SSIM over windows of 8x8 pixels, (H, W) float32 in [0, 1]. Structure below a noise of variance `noise`
    does not count as lost.
    """
    a, b = image.astype(np.float32), clean.astype(np.float32)
    mean_a, mean_b, aa, bb, ab = (cv2.blur(x, (8, 8)) for x in (a, b, a * a, b * b, a * b))
    variances = aa - mean_a**2 + bb - mean_b**2
    of_means, of_structure = 6.5 + noise / 8, 58.5 + 4 * noise
    similarity = (2 * mean_a * mean_b + of_means) * (2 * (ab - mean_a * mean_b) + of_structure)
    similarity = similarity / ((mean_a**2 + mean_b**2 + of_means) * (variances + of_structure))
    return np.clip(1.0 - similarity, 0.0, 1.0)


def per_cell(share: np.ndarray) -> np.ndarray:
    """Means over cells, of shape CELLS, of a (H, W) float32 map of SIZE; half cells in the last row count as whole."""
    below, right = CELLS[0] * CELL - SIZE[0], CELLS[1] * CELL - SIZE[1]
    padded = cv2.copyMakeBorder(share, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(padded, (CELLS[1], CELLS[0]), interpolation=cv2.INTER_AREA)


def _clean_picture(pictures: Pictures, rng: np.random.Generator) -> np.ndarray:
    shares = np.array([SOURCES.get(name, 1.0) for name in pictures.clean])
    source = str(rng.choice(list(pictures.clean), p=shares / shares.sum()))
    image = read_grey(pictures.clean[source][int(rng.integers(len(pictures.clean[source])))])
    # Froth has neither top nor bottom.
    return np.rot90(image, int(rng.integers(4))) if source == "froth" else image


def _crop(images: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The same part of each image, the whole or a random crop, at times mirrored, resized to as many pixels as SIZE.

    Wide crops matter: the detector sees a frame of 1226x370 squeezed to 4:3.
    """
    height, width = images[0].shape
    tall, wide = height, width
    if rng.random() < 0.7:
        aspect = np.exp(rng.uniform(np.log(0.9), np.log(3.6))) if rng.random() < 0.5 else SIZE[1] / SIZE[0]
        tall = int(min(height, width / aspect) * rng.uniform(0.5, 1.0))
        tall = min(height, max(128, tall))
        wide = min(width, max(128, int(tall * aspect)))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    parts = [image[top : top + tall, left : left + wide] for image in images]
    if rng.random() < 0.5:
        parts = [part[:, ::-1] for part in parts]
    size = (SIZE[1], SIZE[0])
    if abs(wide / tall * SIZE[0] / SIZE[1] - 1.0) > 0.15:
        size = (round((wide / tall * SIZE[0] * SIZE[1]) ** 0.5), round((tall / wide * SIZE[0] * SIZE[1]) ** 0.5))
    how = cv2.INTER_AREA if size[0] < wide else cv2.INTER_CUBIC
    return [cv2.resize(np.ascontiguousarray(part), size, interpolation=how) for part in parts]
