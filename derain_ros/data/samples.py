"""Training images: pairs read or rendered, and the samples drawn from them."""

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
"""What a restorer can learn to take away: drops on the lens, or rain that falls before it."""
CLEAN_FOLDERS = ("camvid/train/image", "bsds500/train", "roadscene_rain/train/clean", "msrs/train/visible")
"""Folders of clean photographs below the data folder, on which drops and rain are drawn."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance, as OpenCV takes them."""
STREAKED = 10
"""Difference of luminance, of 255, from which on a pixel counts as streaked; the photographs' own noise is below."""
RENDERED = 256
"""Side in pixels of a rendered pair, at the least."""
IN_FOCUS, NEARER = 0.35, 3.0
"""Share of the glasses with drops as on photographs, besides those that are drawn anyway, and how many times larger
they are at the most: a crop shows as many pixels of a drop as a whole photograph does, which is larger."""
SHARDS = 16
"""Parts into which the rendered pairs are divided; batch after batch draws from the next."""


class DataError(ValueError):
    """Training data, a recipe or a checkpoint is missing or unfit; the message says which, and what is expected."""


@dataclass(frozen=True)
class Pair:
    """A wet image, the clean one and the mask of occluded pixels: (H, W, 3) uint8 RGB twice, (H, W) uint8 0 or 255."""

    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray


class Sample(NamedTuple):
    """One crop of `size`: `wet`, `clean` (size, size, 3) uint8, `mask` (size, size) uint8 0 or 255, `colour` (6,).

    `colour` float32 is how the sample is to be changed, both images alike: gain, tint of red, green and blue, gamma,
    and whether it turns grey (1 or 0).
    """

    wet: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    colour: np.ndarray


def read_rgb(path: Path) -> np.ndarray:
    """The image at `path`, (H, W, 3) uint8 RGB; DataError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_files(folder: Path) -> list[Path]:
    """The images of `folder` in order of name; DataError where there are none."""
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise DataError(f"{folder}: holds no .jpg or .png images; the folder layout is described in docs/training.md")
    return files


def occlusion_of(wet: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mask (H, W) uint8, 255 where a real pair differs: smoothed first, as the two are aligned to a pixel only."""
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
    """Which of ANOMALIES a restorer is made for that `serves` these kinds of the manifest."""
    return "rain" if {"streak", "night_rain"} & set(serves) else "drops"


def read_pair(wet: Path, clean: Path, anomaly: str = "drops") -> Pair:
    """The pair in two files; DataError where one is unreadable or they differ in size."""
    images = read_rgb(wet), read_rgb(clean)
    if images[0].shape != images[1].shape:
        raise DataError(f"{wet} and {clean} differ in size: {images[0].shape[:2]} and {images[1].shape[:2]}")
    return Pair(*images, (streaks_of if anomaly == "rain" else occlusion_of)(*images))


def render_pair(files: Sequence[Path], size: int, rng: np.random.Generator, sharp: bool = False) -> Pair:
    """A crop of `size` x `size` pixels of one of the photographs `files` behind wet glass.

    `sharp` gives drops in focus and no brighter than what is seen through them, as in earlier models.
    """
    clean = random_crop(read_rgb(files[int(rng.integers(len(files)))]), size, rng)
    style = _style(rng).sharp() if sharp else _style(rng)
    # Half of the glasses are as wet as their kind is by nature, half as wet as none of them may be.
    coverage = float(rng.uniform(0.03, 0.55)) if rng.random() < 0.5 else None
    wet, alpha = LensDrops(size, size, rng, coverage, style).apply(clean)
    return Pair(wet, clean, mask_of(alpha))


def _style(rng: np.random.Generator) -> DropStyle:
    """The style of one glass."""
    if rng.random() >= IN_FOCUS:
        return DropStyle.draw(rng)
    return DropStyle.draw(rng, "photograph").larger(float(np.exp(rng.uniform(0, np.log(NEARER)))))


def render_rain(files: Sequence[Path], size: int, rng: np.random.Generator) -> Pair:
    """A crop of `size` x `size` pixels of one of the photographs `files` in falling rain, by day or by night."""
    # Streaks are as long as the frame they fall through is high: frames of several sizes, of which this is a part.
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
    """A photograph (H, W, 3) uint8 RGB in rain, from a drizzle to a downpour; made `night`, it is clean by night."""
    intensity, (height, width) = float(np.exp(rng.uniform(np.log(0.1), 0.0))), photograph.shape[:2]
    if night:
        rain = NightRain(height, width, rng, intensity)
        wet, clean = rain.apply(photograph)[0], rain.lamps.apply(photograph)
    else:
        wet, clean = RainStreaks(height, width, rng, intensity).apply(photograph)[0], photograph
    return Pair(wet, clean, streaks_of(wet, clean))


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of `size` pixels from a random place of `image` at a random scale."""
    scale = max(float(np.exp(rng.uniform(np.log(0.5), np.log(1.3)))), (size + 1) / min(image.shape[:2]))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = rng.integers(image.shape[0] - size + 1), rng.integers(image.shape[1] - size + 1)
    return np.ascontiguousarray(image[top : top + size, left : left + size])


Render = Callable[[Sequence[Path], int, np.random.Generator], Pair]
"""Makes a synthetic pair of a side in pixels from one of some photographs."""


class RenderedPairs:
    """An endless supply of synthetic pairs, made by `render` when they are first drawn and let go when their time is
    over.

    Of each of SHARDS parts a window of `kept` / SHARDS pairs is drawn from; it moves on by `fresh` pairs a step of
    that part. Pair n of a part comes from (seed, part, n) alone, so that a training which is taken up again sees what
    it would have seen. With 2, 4, 8 or 16 worker processes each renders its own parts, and nothing twice.
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
    """Draws samples: a share of real pairs, a share of clean images, the rest synthetic; all augmented.

    Augmentation: scale, crop, mirror, gain, gamma and white balance, joined crops of two pairs, and grey for a share of
    the samples, so that one network serves grey and colour. A sample is a function of seed, step and place alone.
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
        """The sample at `place` of the batch of `step`."""
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
    """Wet image, clean image and mask of a square of `size` pixels from a random place, scaled, mirrored; copies."""
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
    """A change of light and colour as a `Sample` holds it, (6,) float32; grey for a share of the draws."""
    gain, tint = np.exp(rng.uniform(-0.35, 0.2)), np.exp(rng.normal(0, 0.06, 3))
    gamma, grey = np.exp(rng.uniform(-0.25, 0.25)), rng.random() < grey_share
    return np.array([gain, *tint, gamma, grey], np.float32)
