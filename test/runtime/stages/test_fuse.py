from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from fake_networks import FUSE

from derain_ros.engine import EngineError, load
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.runtime.input.encoding import LAYOUTS, from_network
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.stages import RECONSTRUCTED, Images
from derain_ros.runtime.stages.fuse import Fuse, coloured

SIZE = (32, 48)
WHOLE = np.full(SIZE, 255, np.uint8)
RNG = np.random.default_rng(3)


class Shelf:
    """A loader whose only engine does what it is told with the images, and keeps them."""

    name, device, streams, model = "fake", "nowhere", 1, FUSE

    def __init__(self, make: Callable[..., np.ndarray]) -> None:
        self.make, self.got = make, {}  # type: ignore[var-annotated]
        self.wanted: list[Any] = []

    def is_out(self, network: Network) -> bool:
        return False

    def engine(self, wanted: Any) -> Shelf:
        self.wanted.append(wanted)
        return self

    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        self.got = images
        return {"fused": self.make(**images)}


def stage(make: Callable[..., np.ndarray] = lambda visible, infrared, mask: infrared) -> tuple[Fuse, Shelf]:
    shelf = Shelf(make)
    return Fuse(Network("fuse", (FUSE,)), shelf), shelf  # type: ignore[arg-type]


def images_of(*frames: Frame, inside: np.ndarray = WHOLE) -> Images:
    images = Images([f"camera {k}" for k in range(len(frames))], list(frames))
    images.infrared = RNG.integers(0, 256, SIZE, np.uint8), inside
    return images


def grey() -> np.ndarray:
    return RNG.integers(0, 256, SIZE, np.uint8)


def test_one_image_goes_through_the_network_the_first_camera_s() -> None:
    fuse, shelf = stage()
    images = images_of(Frame(grey()), Frame(grey()))
    fuse.run(images)
    assert {name: image.shape for name, image in shelf.got.items()} == dict.fromkeys(
        ("visible", "infrared", "mask"), (1, *SIZE, 1)
    )
    assert np.array_equal(shelf.got["visible"][0], images.seen[0]) and not shelf.got["mask"].any()
    assert shelf.wanted[0].shape == (1, *SIZE) and images.models == ["fuse"]
    assert np.array_equal(images.fused, images.infrared[0][..., None])  # type: ignore[index, arg-type]
    assert images.restored is None and images.masks is None
    # Eyes of another size are another batch; the first one counts.
    other = images_of(Frame(grey()), Frame(np.zeros((8, 8), np.uint8)))
    fuse.run(other)
    assert fuse.of(other.batches) == [(1, *SIZE, 1)] and fuse.can(other.batches)


def test_what_was_restored_is_fused_and_its_mask_leads_to_infrared() -> None:
    fuse, shelf = stage(lambda visible, infrared, mask: np.where(mask == 255, infrared, visible))
    images = images_of(Frame(grey()))
    images.restored, images.masks = [grey()[..., None]], [np.zeros(SIZE, np.uint8)]
    images.masks[0][:10] = RECONSTRUCTED + 1
    fuse.run(images)
    assert set(np.unique(shelf.got["mask"])) == {0, 255} and shelf.got["mask"][0, :10].min() == 255
    assert images.fused is not None and images.infrared is not None
    assert np.array_equal(images.fused[:10, :, 0], images.infrared[0][:10])
    assert np.array_equal(images.fused[10:], images.restored[0][10:])


def test_what_the_detector_finds_hidden_is_so_where_nothing_was_restored() -> None:
    fuse, shelf = stage()
    images = images_of(Frame(grey()))
    images.hidden = np.zeros(SIZE, np.uint8)
    images.hidden[:, 5:9] = 255
    fuse.run(images)
    assert np.array_equal(shelf.got["mask"][0, ..., 0], images.hidden)


def test_beyond_the_thermal_image_the_visible_one_goes_on() -> None:
    inside = np.zeros(SIZE, np.uint8)
    inside[:, 20:], inside[:, 18:20] = 255, 128
    fuse, shelf = stage(lambda visible, infrared, mask: np.full_like(visible, 200))
    images = images_of(Frame(np.full(SIZE, 100, np.uint8)), inside=inside)
    images.hidden = WHOLE
    fuse.run(images)
    assert images.fused is not None
    assert [int(images.fused[7, column, 0]) for column in (17, 18, 20)] == [100, 150, 200]
    assert not shelf.got["mask"][0, :, :18].any() and shelf.got["mask"][0, :, 20:].all()


def test_colours_stay_and_luminance_is_fused() -> None:
    seen = RNG.integers(60, 190, (*SIZE, 3), np.uint8)
    brighter = (cv2_grey(seen).astype(int) + 30).astype(np.uint8)
    found = coloured(brighter, seen)
    assert np.abs(cv2_grey(found).astype(int) - brighter).max() <= 2
    assert np.abs((found.astype(int) - 30) - seen).max() <= 4
    assert np.abs(coloured(cv2_grey(seen), seen).astype(int) - seen).max() <= 3


def cv2_grey(image: np.ndarray) -> np.ndarray:
    """BT.601, written out."""
    return np.rint(image @ (0.299, 0.587, 0.114)).astype(np.uint8)


@pytest.mark.parametrize("encoding", [name for name, layout in LAYOUTS.items() if layout.even == (1, 1)])
def test_it_comes_out_in_the_encoding_that_came(encoding: str) -> None:
    layout = LAYOUTS[encoding]
    deep = layout.dtype != "u1"
    values = RNG.integers(*((1000, 60_000) if deep else (60, 180)), (*SIZE, layout.values))
    image = values.astype(layout.dtype).squeeze(-1) if layout.values == 1 else values.astype(layout.dtype)
    frame = Frame(image, encoding, 5, "left")
    fuse, _ = stage(lambda visible, infrared, mask: np.minimum(visible, 200) + 40)
    images = images_of(frame)
    fuse.run(images)
    assert images.fused is not None
    fused = from_network(images.fused, images.frames[0])
    assert (fused.encoding, fused.frame_id, fused.stamp_ns) == (encoding, "left", 5)
    assert fused.image.shape == image.shape and fused.image.dtype == image.dtype
    assert fused.image.astype(float).mean() > image.astype(float).mean() + (5000 if deep else 20) * 0.7


def test_an_image_of_another_size_is_refused_and_nothing_is_changed() -> None:
    fuse, _ = stage(lambda visible, infrared, mask: visible[:, 1:])
    images = images_of(Frame(grey()))
    with pytest.raises(EngineError, match=r"fuse: gave an image \(1, 31, 48, 1\) for images \(1, 32, 48, 1\)"):
        fuse.run(images)
    assert images.fused is None and images.models == []


def test_the_shipped_fuser_shows_what_a_drop_hides() -> None:
    """Behind a drop on the visible lens, contours come from the infrared image, the more so where the mask says it."""
    size = (192, 256)
    rng = np.random.default_rng(8)
    scene = np.full(size, 120, np.uint8)
    for _ in range(40):
        x, y, w, h = (int(value) for value in rng.integers((0, 0, 12, 12), (240, 180, 50, 50)))
        cv2.rectangle(scene, (x, y), (x + w, y + h), int(rng.integers(40, 220)), -1)
    drop = np.zeros(size, np.uint8)
    cv2.circle(drop, (128, 96), 40, 255, -1)
    seen = np.where(drop > 0, cv2.GaussianBlur(scene, (0, 0), 25), scene)
    engine = load(Manifest.load().get("fuse"), "onnxruntime", 1)
    inner = cv2.erode(drop, np.ones((17, 17), np.uint8)) > 0

    def contours_kept(mask: np.ndarray) -> float:
        images = {"visible": seen, "infrared": scene, "mask": mask}
        fused = engine.run(**{name: image[None, ..., None] for name, image in images.items()})["fused"][0, ..., 0]
        wanted, found = (cv2.Laplacian(image, cv2.CV_32F)[inner] for image in (scene, fused))
        return float((wanted * found).sum() / (wanted * wanted).sum())

    assert contours_kept(drop) > 0.5 and contours_kept(drop) > contours_kept(np.zeros(size, np.uint8)) + 0.05
