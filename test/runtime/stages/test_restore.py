"""The restoring stage with the real engine: what comes out of which images, and which engines fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_models import BRIGHTER_BY, MASKED_ABOVE, write_manifest, write_restorer

from derain_ros.engine import Engine, EngineError, load
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.loading.loader import Wanted
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.stages import Images
from derain_ros.runtime.stages.restore import Restore, restorers

RNG = np.random.default_rng(5)


class Spy:
    """An engine that notes what it is run on."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.model, self.device, self.streams = engine.name, engine.model, engine.device, engine.streams
        self.got: list[np.ndarray] = []
        self.change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = dict
        self._engine = engine

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.got.append(image)
        return self.change(self._engine.run(image=image))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [image.shape for image in self.got]


class Shelf:
    """A loader that has loaded everything, by ONNX Runtime."""

    def __init__(self) -> None:
        self.engines: dict[str, Spy] = {}
        self.retired: list[tuple[str, tuple[int, ...]]] = []

    def is_out(self, network: Network) -> bool:
        return False

    def engine(self, wanted: Wanted) -> Spy:
        model = wanted.network.models[-1]
        if model.name not in self.engines:
            self.engines[model.name] = Spy(load(model, threads=1))
        return self.engines[model.name]

    def retire(self, wanted: Wanted, engine: Engine, error: EngineError) -> None:
        self.retired.append((engine.model.name, wanted.shape))
        del self.engines[engine.model.name]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The rungs of the ladder for grey, and balanced for colour too; light works at half the size."""
    directory = tmp_path_factory.mktemp("restorers")
    write_manifest(
        directory,
        [
            write_restorer(directory, "mono", network="balanced"),
            write_restorer(directory, "rgb", 3, network="balanced"),
            write_restorer(directory, "small", plan="light", network="light", scale=2),
            write_restorer(directory, "rain", plan="light", serves=["streak"]),
        ],
    )
    return Manifest.load(directory)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def stages(models: Manifest, shelf: Shelf) -> dict[str, Restore]:
    networks = [Network(model.network, (model,)) for model in models.models.values()]
    return {stage.name: stage for stage in restorers(networks, shelf)}  # type: ignore[arg-type]


def images_of(*frames: Frame) -> Images:
    return Images([f"camera_{n}" for n in range(len(frames))], frames)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def brighter(image: np.ndarray) -> np.ndarray:
    return np.minimum(image.astype(int) + BRIGHTER_BY, 255)


def test_networks_of_one_name_are_one_stage_named_by_its_rung_or_for_what_it_serves(stages: dict[str, Restore]) -> None:
    assert {name: (sorted(stage.networks), stage.rung, stage.serves) for name, stage in stages.items()} == {
        "balanced": ([1, 3], "balanced", frozenset()),
        "light": ([1], "light", frozenset()),
        "rain": ([1], "light", frozenset({"streak"})),
    }


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "rgb8", "bgr8"])
def test_what_it_restores_is_new_and_the_input_is_untouched(stages: dict[str, Restore], encoding: str) -> None:
    whole = noise(13, 30, 3) if encoding in ("rgb8", "bgr8") else noise(13, 30)
    before = whole.copy()
    view = whole[:, 2:23]
    view.flags.writeable = False
    images = images_of(Frame(view, encoding))
    assert images.restored is None and images.masks is None
    stages["balanced"].run(images)
    assert images.restored is not None and images.masks is not None
    seen = before[:, 2:23].reshape(13, 21, -1)
    assert np.array_equal(images.restored[0], brighter(seen[..., ::-1] if encoding == "bgr8" else seen))
    assert np.array_equal(images.masks[0], np.where(seen.max(2) > MASKED_ABOVE, 255, 0))
    assert images.restored[0].dtype == images.masks[0].dtype == np.uint8 and np.array_equal(whole, before)
    assert images.models == ["rgb" if seen.shape[2] == 3 else "mono"]


def test_two_eyes_of_one_size_go_in_one_batch(stages: dict[str, Restore], shelf: Shelf) -> None:
    frames = [Frame(noise(16, 16)), Frame(noise(16, 16))]
    images = images_of(*frames)
    stages["balanced"].run(images)
    assert shelf.engines["mono"].shapes == [(2, 16, 16, 1)] and images.models == ["mono"]
    for frame, restored in zip(frames, images.restored or [], strict=True):
        assert np.array_equal(restored[..., 0], brighter(frame.image))


def test_eyes_that_differ_go_one_by_one_and_come_back_in_order(stages: dict[str, Restore], shelf: Shelf) -> None:
    frames = [Frame(noise(16, 16)), Frame(noise(16, 24)), Frame(noise(16, 16, 3), "rgb8"), Frame(noise(16, 16))]
    images = images_of(*frames)
    stages["balanced"].run(images)
    assert shelf.engines["mono"].shapes == [(2, 16, 16, 1), (1, 16, 24, 1)]
    assert shelf.engines["rgb"].shapes == [(1, 16, 16, 3)] and images.models == ["mono", "rgb"]
    for frame, restored, mask in zip(frames, images.restored or [], images.masks or [], strict=True):
        assert np.array_equal(restored.squeeze(), brighter(frame.image)) and mask.shape == frame.image.shape[:2]


def test_what_comes_second_restores_what_the_first_restored_and_masks_are_joined(
    stages: dict[str, Restore], shelf: Shelf
) -> None:
    # The first makes 195 bright enough for the second to mask it, which leaves the last column to the first.
    stages["balanced"].run(images_of(Frame(noise(8, 8))))
    shelf.engines["mono"].change = lambda outputs: outputs | {"mask": outputs["mask"] * np.uint8([1] * 23 + [0])}
    image = np.array([[100, 195, 210] * 8] * 8, np.uint8)
    images = images_of(Frame(image))
    for name in ("rain", "balanced"):
        stages[name].run(images)
    assert images.restored is not None and images.masks is not None
    assert np.array_equal(images.restored[0][..., 0], image + 2 * BRIGHTER_BY)
    assert images.masks[0][0].tolist() == [0, 255, 255] * 8 and images.models == ["rain", "mono"]


def test_a_network_of_half_the_size_gets_reduced_images_and_changes_the_whole_ones(
    stages: dict[str, Restore], shelf: Shelf
) -> None:
    rough = RNG.integers(60, 120, (2, 53, 71), np.uint8)
    images = images_of(*(Frame(image) for image in rough))
    [wanted] = stages["light"].load(images.batches)
    assert wanted.shape == (2, 27, 36)
    stages["light"].run(images)
    assert shelf.engines["small"].shapes == [(2, 27, 36, 1)] and images.restored is not None
    # All detail is still there.
    assert all(np.array_equal(a[..., 0], b + BRIGHTER_BY) for a, b in zip(images.restored, rough, strict=True))


def test_images_of_many_pixels_are_reduced_further(stages: dict[str, Restore]) -> None:
    for scale, name in ((2, "balanced"), (2, "light"), (3, "balanced")):
        size = {2: (2000, 2500), 3: (4000, 5000)}[scale]
        [wanted] = stages[name].load([(1, *size, 1)])
        assert wanted.shape == (1, -(-size[0] // scale), -(-size[1] // scale))


def test_a_malformed_frame_is_refused() -> None:
    with pytest.raises(FrameError, match="a rgb8 image is"):
        images_of(Frame(noise(8, 8)), Frame(noise(8, 8), "rgb8"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("restored", r"gave images \(1, 4, 8, 1\) and masks \(1, 8, 8\) for images \(1, 8, 8, 1\)"),
        ("mask", r"gave images \(1, 8, 8, 1\) and masks \(1, 4, 8\)"),
    ],
)
def test_a_network_that_changes_the_size_is_an_error_and_changes_nothing(
    stages: dict[str, Restore], shelf: Shelf, output: str, message: str
) -> None:
    images = images_of(Frame(noise(8, 8)))
    stages["balanced"].run(images)
    before = images.restored
    shelf.engines["mono"].change = lambda outputs: outputs | {output: outputs[output][:, :4]}
    with pytest.raises(EngineError, match=message):
        stages["balanced"].run(images)
    assert images.restored is before and images.models == ["mono"]


def break_down(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    raise EngineError("device lost")


def failing(stage: Restore, *frames: Frame) -> None:
    error = pytest.raises(EngineError, stage.run, images_of(*frames)).value
    stage.fail(error)


@pytest.mark.parametrize("size", [(16, 16), (16, 24)], ids=["of one size", "of two"])
def test_of_two_engines_the_one_that_failed_is_retired(
    stages: dict[str, Restore], shelf: Shelf, size: tuple[int, int]
) -> None:
    frames: Sequence[Frame] = [Frame(noise(16, 16)), Frame(noise(*size, 3), "rgb8")]
    stages["balanced"].run(images_of(*frames))
    shelf.engines["rgb"].change = break_down
    failing(stages["balanced"], *frames)
    assert shelf.retired == [("rgb", (1, *size))]


def test_each_failure_counts_once(stages: dict[str, Restore], shelf: Shelf, models: Manifest) -> None:
    for n in range(1, 4):
        shelf.engine(Wanted(Network("balanced", (models.get("mono"),)), (1, 16, 16))).change = break_down
        failing(stages["balanced"], Frame(noise(16, 16)))
        assert len(shelf.retired) == n


def test_what_a_run_took_is_known_by_engine_and_images(
    stages: dict[str, Restore], shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelf, "measured_ms", lambda self, wanted: 7.0, raising=False)
    stage, small, both = stages["balanced"], [(1, 16, 16, 1)], [(1, 16, 16, 1), (1, 16, 16, 3)]
    assert (stage.cost_ms(small), stage.cost_ms(both)) == (7.0, 14.0)
    stage.learn(small, 50.0)
    assert (stage.cost_ms(small), stage.cost_ms(both)) == (50.0, 14.0)
    # Another engine takes its own time.
    shelf.engines["mono"].streams = 2
    assert stage.cost_ms(small) == 7.0
    stage.learn(small, 20.0)
    shelf.engines["mono"].streams = 1
    assert stage.cost_ms(small) == 50.0
    stage.forget(small)
    assert stage.cost_ms(small) == 7.0
