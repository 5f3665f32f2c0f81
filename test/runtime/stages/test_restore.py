from __future__ import annotations

import numpy as np
import pytest

from derain_ros.engine import Engine, EngineError, load
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.stages.restore import Batch, batches, restore

RNG = np.random.default_rng(5)


class Spy:
    """An engine that notes the shapes it is run on."""

    def __init__(self, engine: Engine) -> None:
        self.model, self.device = engine.model, engine.device
        self.shapes: list[tuple[int, ...]] = []
        self._engine = engine

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.shapes.append(image.shape)
        return self._engine.run(image)


class Restorer:
    """The networks of both channels, spied upon."""

    def __init__(self, engines: dict[int, Engine]) -> None:
        self.engines = engines

    def restore(self, frames: list[Frame]) -> list[tuple[Frame, np.ndarray]]:
        engines: dict[Batch, Engine] = {shape: self.engines[shape[3]] for shape in batches(frames)}
        return restore(frames, engines)


@pytest.fixture
def restorer(manifest: Manifest) -> Restorer:
    return Restorer({1: Spy(load(manifest.get("restore_mono"))), 3: Spy(load(manifest.get("restore_rgb")))})


def shapes(restorer: Restorer, channels: int) -> list[tuple[int, ...]]:
    engine = restorer.engines[channels]
    assert isinstance(engine, Spy)
    return engine.shapes


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "rgb8", "bgr8"])
def test_size_and_encoding_come_back_and_the_input_is_untouched(restorer: Restorer, encoding: str) -> None:
    whole = noise(13, 30, 3) if encoding in ("rgb8", "bgr8") else noise(13, 30)
    before = whole.copy()
    view = whole[:, 2:23]
    view.flags.writeable = False
    frame = Frame(view, encoding, 42, "left_optical")
    [(restored, mask)] = restorer.restore([frame])
    expected = before[:, 2:23]
    assert np.array_equal(restored.image, np.minimum(expected.astype(int) + 10, 255))
    assert np.array_equal(mask, np.where((expected.max(2) if expected.ndim == 3 else expected) > 200, 255, 0))
    assert restored.image.flags.c_contiguous and restored.image.dtype == np.uint8 and mask.dtype == np.uint8
    assert (restored.encoding, restored.stamp_ns, restored.frame_id) == (encoding, 42, "left_optical")
    assert np.array_equal(whole, before)


def test_colours_are_not_mixed_up(manifest: Manifest) -> None:
    class RedOnly(Spy):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            red = np.zeros_like(image)
            red[..., 0] = 255
            return {"restored": red, "mask": np.zeros(image.shape[:3], np.uint8)}
    restorer = Restorer({3: RedOnly(load(manifest.get("restore_rgb")))})
    (rgb, _), (bgr, _) = restorer.restore([Frame(noise(8, 8, 3), "rgb8"), Frame(noise(8, 8, 3), "bgr8")])
    assert rgb.image[0, 0].tolist() == [255, 0, 0] and bgr.image[0, 0].tolist() == [0, 0, 255]


def test_sixteen_bits_stay_sixteen_bits(restorer: Restorer) -> None:
    image = RNG.integers(0, 4096, (9, 9)).astype(np.uint16)
    image[0, 0] = 4095
    [(restored, _)] = restorer.restore([Frame(image, "mono16")])
    assert restored.image.dtype == np.uint16
    saturated = np.minimum((image >> 4) + 10, 255)
    assert np.array_equal(restored.image, (saturated << 4) + (image & 15))


def test_two_eyes_of_one_size_go_in_one_batch(restorer: Restorer) -> None:
    left, right = Frame(noise(16, 16)), Frame(noise(16, 16))
    results = restorer.restore([left, right])
    assert shapes(restorer, 1) == [(2, 16, 16, 1)]
    for frame, (restored, _) in zip([left, right], results, strict=True):
        assert np.array_equal(restored.image, np.minimum(frame.image.astype(int) + 10, 255))


def test_eyes_that_differ_go_one_by_one_and_come_back_in_order(restorer: Restorer) -> None:
    frames = [Frame(noise(16, 16)), Frame(noise(16, 24)), Frame(noise(16, 16, 3), "rgb8"), Frame(noise(16, 16))]
    results = restorer.restore(frames)
    assert shapes(restorer, 1) == [(2, 16, 16, 1), (1, 16, 24, 1)] and shapes(restorer, 3) == [(1, 16, 16, 3)]
    for frame, (restored, mask) in zip(frames, results, strict=True):
        assert np.array_equal(restored.image, np.minimum(frame.image.astype(int) + 10, 255))
        assert mask.shape == frame.image.shape[:2]


def test_a_malformed_frame_is_refused(restorer: Restorer) -> None:
    with pytest.raises(FrameError, match="a rgb8 image is"):
        restorer.restore([Frame(noise(8, 8)), Frame(noise(8, 8), "rgb8")])


@pytest.mark.parametrize(("output", "message"), [
    ("restored", r"gave images \(1, 4, 8, 1\) and masks \(1, 8, 8\) for images \(1, 8, 8, 1\)"),
    ("mask", r"gave images \(1, 8, 8, 1\) and masks \(1, 4, 8\)"),
])
def test_a_network_that_changes_the_size_is_an_error(manifest: Manifest, output: str, message: str) -> None:
    class Shrinking(Spy):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            outputs = super().run(image)
            return outputs | {output: outputs[output][:, :4]}
    with pytest.raises(EngineError, match=message):
        Restorer({1: Shrinking(load(manifest.get("restore_mono")))}).restore([Frame(noise(8, 8))])
