"""Training images: real pairs, rendered pairs, and the samples drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from derain_ros.rain.drops import LensDrops, mask_of
from derain_ros.rain.night import NightRain
from derain_ros.rain.shower import Severity, draw_moment
from derain_ros.rain.streaks import RainStreaks
from derain_ros.rain.style import DropStyle

ANOMALIES = ("drops", "rain")
"""What a restorer can learn to remove: drops on the lens, or rain that falls in front of it."""
CLEAN_FOLDERS = ("camvid/train/image", "bsds500/train", "roadscene_rain/train/clean", "msrs/train/visible")
"""Folders of clean photographs below the data folder, on which drops and rain are rendered."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance, as in OpenCV."""
STREAKED = 10
"""A pixel whose luminance (0 to 255) differs by more than this counts as streaked; the photographs' noise is lower."""
RENDERED = 256
"""Smallest side of a rendered pair, in pixels."""
IN_FOCUS, NEARER = 0.35, 3.0
"""Share of the lenses with drops as in photographs, besides those that DropStyle.draw gives, and the largest factor by
which these drops are enlarged: a crop is smaller than a photograph, but shows as many pixels of a drop."""
SHARDS = 16
"""Parts into which the rendered pairs are divided; each batch draws from the next part."""


class DataError(ValueError):
    """Training data, a recipe or a checkpoint is missing or unusable; the message says which and what is expected."""


@dataclass(frozen=True)
class Pair:
    """A wet and a clean image, (H, W, 3) uint8 RGB, and the mask of occluded pixels, (H, W) uint8, 0 or 255."""

    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray


class Sample(NamedTuple):
    """One crop: `wet`, `clean` (size, size, 3) uint8 RGB, `mask` (size, size) uint8 0 or 255, `colour` (6,) float32.

    `colour` is the augmentation to apply to both images: gain, tint of red, green and blue, gamma, and whether the
    sample becomes grey (1 or 0).
    """

    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    colour: np.ndarray


def read_rgb(path: Path) -> np.ndarray:
    """The image at `path`, (H, W, 3) uint8 RGB; DataError if it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_files(folder: Path) -> list[Path]:
    """The images of `folder` in order of name; DataError if there are none."""
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise DataError(f"{folder}: holds no .jpg or .png images; the folder layout is described in docs/training.md")
    return files


def occlusion_of(wet: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mask (H, W) uint8, 255 where the images of a real pair differ.

    Both are smoothed first, because they are aligned only to within a pixel.
    """
    smooth = [cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.int16) for image in (wet, clean)]
    difference = np.abs(smooth[0] - smooth[1])
    if difference.ndim == 3:
        difference = difference.max(axis=2)
    return ((difference > 20) * 255).astype(np.uint8)


def streaks_of(wet: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mask (H, W) uint8, 255 where falling rain changes the luminance of (H, W, 3) RGB by more than STREAKED."""
    grey = [cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 0.7) for image in (wet, clean)]
    return ((cv2.absdiff(*grey) > STREAKED) * 255).astype(np.uint8)


def anomaly_of(serves: Collection[str]) -> str:
    """The one of ANOMALIES that a restorer is made for, given the anomalies it `serves` in the manifest."""
    return "rain" if {"streak", "night_rain"} & set(serves) else "drops"


def read_pair(wet: Path, clean: Path, anomaly: str = "drops") -> Pair:
    """The pair in two files; DataError if one is unreadable or they differ in size."""
    images = read_rgb(wet), read_rgb(clean)
    if images[0].shape != images[1].shape:
        raise DataError(f"{wet} and {clean} differ in size: {images[0].shape[:2]} and {images[1].shape[:2]}")
    return Pair(*images, (streaks_of if anomaly == "rain" else occlusion_of)(*images))


def render_pair(files: Sequence[Path], size: int, rng: np.random.Generator, sharp: bool = False) -> Pair:
    """A crop of `size` x `size` pixels of one of the photographs `files`, behind a lens with drops.

    `sharp` gives drops that are in focus and no brighter than the scene seen through them, as in earlier models.
    """
    clean = random_crop(read_rgb(files[int(rng.integers(len(files)))]), size, rng)
    style = _style(rng).sharp() if sharp else _style(rng)
    # Half of the lenses have a coverage drawn from a fixed range, half the coverage that is natural for their style.
    coverage = float(rng.uniform(0.03, 0.55)) if rng.random() < 0.5 else None
    wet, alpha = LensDrops(size, size, rng, coverage, style).apply(clean)
    return Pair(wet, clean, mask_of(alpha))


def _style(rng: np.random.Generator) -> DropStyle:
    """The style of the drops on one lens."""
    if rng.random() >= IN_FOCUS:
        return DropStyle.draw(rng)
    return DropStyle.draw(rng, "photograph").larger(float(np.exp(rng.uniform(0, np.log(NEARER)))))


def render_rain(files: Sequence[Path], size: int, rng: np.random.Generator) -> Pair:
    """A crop of `size` x `size` pixels of one of the photographs `files` in falling rain, by day or by night."""
    # The length of streaks is relative to the frame's height. So frames of several sizes are rendered and cropped.
    side = round(size * float(rng.uniform(1.0, 1.7)))
    photograph = random_crop(read_rgb(files[int(rng.integers(len(files)))]), side, rng)
    frame = rain_on(photograph, bool(rng.random() < 0.5), rng)
    top, left = rng.integers(side - size + 1, size=2)
    return Pair(
        *(
            np.ascontiguousarray(image[top : top + size, left : left + size])
            for image in (frame.wet, frame.clean, frame.mask)
        )
    )


def render_shower(files: Sequence[Path], size: int, rng: np.random.Generator) -> Pair:
    """A crop of `size` x `size` pixels of one of the photographs `files` at a moment of a shower, mostly a wet one."""
    clean = random_crop(read_rgb(files[int(rng.integers(len(files)))]), size, rng)
    severities: tuple[Severity | None, ...] = (None, "moderate", "heavy")
    wet, mask = draw_moment(clean, rng, severities[int(rng.integers(3))])
    return Pair(wet, clean, mask)


def rain_on(photograph: np.ndarray, night: bool, rng: np.random.Generator) -> Pair:
    """A photograph (H, W, 3) uint8 RGB in rain, from drizzle to downpour; with `night` both images show it at night."""
    intensity, (height, width) = float(np.exp(rng.uniform(np.log(0.1), 0.0))), photograph.shape[:2]
    if night:
        rain = NightRain(height, width, rng, intensity)
        wet, clean = rain.apply(photograph)[0], rain.lamps.apply(photograph)
    else:
        wet, clean = RainStreaks(height, width, rng, intensity).apply(photograph)[0], photograph
    return Pair(wet, clean, streaks_of(wet, clean))


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of `size` pixels from a random position in `image`, at a random scale."""
    scale = max(float(np.exp(rng.uniform(np.log(0.5), np.log(1.3)))), (size + 1) / min(image.shape[:2]))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = rng.integers(image.shape[0] - size + 1), rng.integers(image.shape[1] - size + 1)
    return np.ascontiguousarray(image[top : top + size, left : left + size])


Render = Callable[[Sequence[Path], int, np.random.Generator], Pair]
"""Makes a synthetic pair from one of the photographs; the int is its side in pixels."""


class RenderedPairs:
    """An endless supply of synthetic pairs, rendered by `render` when first drawn and dropped when out of date.

    In each of SHARDS parts, pairs are drawn from a window of `kept` / SHARDS pairs, which moves on by `fresh` pairs at
    each step of that part. Pair n of a part depends on (seed, part, n) alone, so a resumed training sees the same pairs
    as an uninterrupted one. With 2, 4, 8 or 16 worker processes each renders its own parts, and no pair twice.
    """

    def __init__(self, files: Sequence[Path], kept: int, fresh: float, size: int, seed: int, render: Render) -> None:
        self.files, self.size, self.seed, self.render = files, size, seed, render
        self.window, self.fresh = -(-kept // SHARDS), fresh
        self._pairs: dict[tuple[int, int], Pair] = {}

    def draw(self, step: int, rng: np.random.Generator) -> Pair:
        """One of the pairs that can be drawn at `step`."""
        turn, part = divmod(step, SHARDS)
        oldest = int(turn * self.fresh)
        number = oldest + int(rng.integers(self.window))
        if (part, number) not in self._pairs:
            for key in [k for k in self._pairs if k[0] == part and k[1] < oldest]:
                del self._pairs[key]
            own = np.random.default_rng((self.seed, 1, part, number))
            self._pairs[part, number] = self.render(self.files, self.size, own)
        return self._pairs[part, number]


class SampleSource:
    """Draws samples from real and synthetic pairs, all augmented; a share of them is clean.

    Augmentation: scale, crop, mirror, gain, gamma and white balance, joined crops of two pairs, and grey for a share of
    the samples, so that one network serves grey and colour. A sample depends on seed, step and place alone.
    """

    def __init__(
        self,
        real: Sequence[Pair],
        synthetic: RenderedPairs | None,
        size: int,
        real_share: float,
        clean_share: float,
        seed: int,
        grey_share: float = 0.5,
    ) -> None:
        if synthetic is None and not real:
            raise DataError("no pairs to train on: neither real ones nor clean photographs to draw on were given")
        self.real, self.synthetic, self.size, self.seed = real, synthetic, size, seed
        self.real_share = (real_share if synthetic is not None else 1.0) if real else 0.0
        self.clean_share, self.grey_share = clean_share, grey_share

    def sample(self, step: int, place: int) -> Sample:
        """The sample at index `place` in the batch of `step`."""
        rng = np.random.default_rng((self.seed, 0, step, place))
        from_real = rng.random() < self.real_share
        wet, clean, mask = crop_pair(self._pair(from_real, step, rng), self.size, rng)
        if rng.random() < self.clean_share:
            wet, mask = clean, np.zeros_like(mask)
        elif rng.random() < 0.3:
            other = crop_pair(self._pair(from_real, step, rng), self.size, rng)
            edge = int(rng.integers(self.size // 4, self.size * 3 // 4))
            side = (slice(edge, None), slice(None)) if rng.random() < 0.5 else (slice(None), slice(edge, None))
            for mine, theirs in zip((wet, clean, mask), other, strict=True):
                mine[side] = theirs[side]
        return Sample(wet, clean, mask, draw_colour(rng, self.grey_share))

    def _pair(self, from_real: bool, step: int, rng: np.random.Generator) -> Pair:
        if from_real:
            return self.real[int(rng.integers(len(self.real)))]
        assert self.synthetic is not None
        return self.synthetic.draw(step, rng)


def crop_pair(pair: Pair, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copies of a random square of the wet image, the clean image and the mask, at times scaled and mirrored.

    Each has `size` x `size` pixels.
    """
    height, width = pair.wet.shape[:2]
    scale = max(float(rng.uniform(0.8, 1.4)), size / min(height, width)) if rng.random() < 0.6 else 1.0
    side = min(round(size / scale), height, width)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    mirror = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
    crops = []
    for image in (pair.wet, pair.clean, pair.mask):
        crop = image[top : top + side, left : left + side][:, mirror]
        if side != size:
            how = cv2.INTER_LINEAR if image is not pair.mask else cv2.INTER_NEAREST
            crop = cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=how)
        crops.append(crop.copy())
    return crops[0], crops[1], crops[2]


def draw_colour(rng: np.random.Generator, grey_share: float = 0.5) -> np.ndarray:
    """A random change of light and colour as in `Sample.colour`, (6,) float32; grey for a share of the draws."""
    gain, tint = np.exp(rng.uniform(-0.35, 0.2)), np.exp(rng.normal(0, 0.06, 3))
    gamma, grey = np.exp(rng.uniform(-0.25, 0.25)), rng.random() < grey_share
    return np.array([gain, *tint, gamma, grey], np.float32)
