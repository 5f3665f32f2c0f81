"""Compares the outputs of a replay with the dry views, which show the drive without drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from derain_ros.replay.bag import BagReader
from derain_ros.replay.shown import DRY, RESTORED, SEEN, Picture, picture, spread
from derain_ros.runtime.input.messages import frame_of

COMPARED = 60
"""Largest number of wet stamps, and of clean stamps, that are compared; they are spread evenly."""


@dataclass
class Quality:
    """Image quality: `psnr` has the PSNR in dB of each compared wet frame before and after restoring.

    `untouched` of the `clean` frames are unchanged bit for bit.
    """

    psnr: list[tuple[float, float]] = field(default_factory=list)
    clean: int = 0
    untouched: int = 0


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two uint8 images in dB; inf if they are equal."""
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2))
    return float("inf") if error == 0 else 10.0 * float(np.log10(255.0**2 / error))


def compare(
    cleaned: Path, truth: Path, wet: Mapping[str, Mapping[int, bool]], samples: int = 2
) -> tuple[Quality, list[Picture]]:
    """Compare the bag `cleaned` with the dry views in the bag `truth`.

    `wet` says by camera and stamp whether there were drops. Returns the quality, and up to `samples` pictures of each
    camera.
    """
    stamps = sorted({stamp for camera in wet.values() for stamp, is_wet in camera.items() if is_wet})
    chosen = set(stamps[:: max(1, -(-len(stamps) // COMPARED))])
    dry = _images(truth, {f"/truth/{camera}/image_raw": camera for camera in wet}, chosen)
    clean = {s for camera in wet.values() for s, is_wet in camera.items() if not is_wet}
    looked_at = chosen | set(sorted(clean)[:: max(1, -(-len(clean) // COMPARED))])
    seen = _images(cleaned, {f"/{camera}/image_raw": camera for camera in wet}, looked_at)
    out = _images(cleaned, {f"/derained/{camera}/image_raw": camera for camera in wet}, looked_at)
    masks = _images(cleaned, {f"/derained/{camera}/anomaly_mask": camera for camera in wet}, chosen)
    quality = Quality()
    pairs = [key for key in sorted(out, key=lambda k: k[::-1]) if key in seen]
    for key in pairs:
        if key in dry and wet[key[0]][key[1]]:
            quality.psnr.append((psnr(seen[key], dry[key]), psnr(out[key], dry[key])))
        elif not wet[key[0]].get(key[1], True):
            quality.clean += 1
            quality.untouched += bool(np.array_equal(seen[key], out[key]))
    shown = [key for key in pairs if key in dry and key in masks]
    return quality, [
        picture(*key, {SEEN: seen[key], RESTORED: out[key], DRY: dry[key]}, masks[key])
        for camera in wet
        for key in spread(shown, camera, samples)
    ]


def _images(bag: Path, cameras: Mapping[str, str], stamps: set[int]) -> dict[tuple[str, int], np.ndarray]:
    """Read the images of these topics and stamps, by camera and stamp."""
    found = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            if message.topic in cameras:
                frame = frame_of(reader.decode(message))
                if frame.stamp_ns in stamps:
                    found[cameras[message.topic], frame.stamp_ns] = frame.image
    return found
