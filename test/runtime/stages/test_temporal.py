"""The temporal filter around its network: what is remembered, moved along, forgotten, and blended; and its stage."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from derain_ros.engine import EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.stages import Images
from derain_ros.runtime.stages.temporal import MEMORY, SEEN, Temporal, TemporalFilter, half_size
from derain_ros.tasks import TEMPORAL_PLANES

MS = 1_000_000


class Network:
    """A network of set weights that keeps what it gets; what it remembers is one more at every frame."""

    name, device, streams, precision = "fake", "nowhere", 1, "fp32"
    model = SimpleNamespace(name="temporal")

    def __init__(self, keep: int = 0, recall: int = 255, smooth: int = 0) -> None:
        self.weights = keep, recall, smooth
        self.got: list[np.ndarray] = []

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.got.append(image.copy())
        weights = np.empty((*image.shape[:3], 3), np.uint8)
        weights[...] = self.weights
        return {
            "weights": weights,
            "mask": np.where(image[..., 3] > 127, 255, 0).astype(np.uint8),
            "memory": image[..., MEMORY:] + 1,
        }


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    rng = np.random.default_rng(4)
    noise = cv2.GaussianBlur(rng.standard_normal((200, 300)).astype(np.float32), (0, 0), 3)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def view(scene: np.ndarray, x: int, height: int = 96, width: int = 128, channels: int = 1) -> np.ndarray:
    """A frame of one camera, (1, H, W, C)."""
    return np.repeat(scene[None, 40 : 40 + height, x : x + width, None], channels, 3)


def step(
    temporal: TemporalFilter,
    network: Network,
    at_ms: int,
    frame: np.ndarray,
    restored: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    camera: str = "left",
) -> tuple[np.ndarray, np.ndarray]:
    restored = frame if restored is None else restored
    mask = np.zeros(frame.shape[:3], np.uint8) if mask is None else mask
    return temporal.apply(network, [camera], [at_ms * MS], frame, restored, mask)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_seen_comes_back_where_the_scene_went(scene: np.ndarray, channels: int) -> None:
    temporal, network = TemporalFilter(), Network(keep=255)
    for n in range(3):
        image, _ = step(temporal, network, 100 * n, view(scene, 50 + 3 * n, channels=channels))
    assert np.array_equal(image, view(scene, 56, channels=channels)[0])
    # From here on the camera sees nothing but a drop, at first in a part of the view.
    network.weights = 0, 255, 0
    frame = view(scene, 59, channels=channels)
    truth, restored = frame[0].copy(), frame.copy()
    restored[:, 30:60, 40:80] = 128
    image, _ = step(temporal, network, 300, frame, restored)
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(image[inner].astype(int) - truth[inner]).mean() < 4
    assert network.got[-1].shape == (1, 48, 64, TEMPORAL_PLANES)
    assert network.got[-1][0, 5:-5, 5:-5, SEEN].min() == 255


def test_the_first_frame_has_no_past_and_nothing_given_is_altered(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network()
    frame, restored = view(scene, 20), view(scene, 90)
    mask = np.zeros((1, 96, 128), np.uint8)
    mask[:, :40] = 255
    given = [array.copy() for array in (frame, restored, mask)]
    image, covered = step(temporal, network, 0, frame, restored, mask)
    assert np.array_equal(image, restored[0])
    assert covered.all()  # nothing was kept
    planes = network.got[0][0]
    assert np.array_equal(planes[..., 1], planes[..., 2]) and not planes[..., SEEN:].any()
    assert all(np.array_equal(a, b) for a, b in zip(given, (frame, restored, mask), strict=True))


def test_the_glass_is_remembered_camera_by_camera(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network()
    for n in range(3):
        step(temporal, network, 100 * n, view(scene, 20 + n))
    assert np.all(network.got[-1][..., MEMORY:] == 2)
    step(temporal, network, 300, view(scene, 24), camera="right")
    assert np.all(network.got[-1][..., MEMORY:] == 0)


def test_the_mask_has_what_is_covered_and_what_was_not_kept(scene: np.ndarray) -> None:
    mask = np.zeros((1, 96, 128), np.uint8)
    mask[:, :40] = 255
    for keep, expected in ((255, mask[0]), (100, np.full_like(mask[0], 255))):
        _, covered = step(TemporalFilter(), Network(keep=keep), 0, view(scene, 20), mask=mask)
        assert np.array_equal(covered, expected)


@pytest.mark.parametrize("at_ms", [100, 90, 700])
def test_the_past_is_forgotten_after_a_pause_and_a_jump_back(scene: np.ndarray, at_ms: int) -> None:
    temporal, network = TemporalFilter(), Network()
    step(temporal, network, 100, view(scene, 20))
    step(temporal, network, at_ms, view(scene, 21))
    assert not network.got[-1][..., SEEN:].any()


def test_the_past_is_forgotten_where_the_frames_change(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network()
    for n, (height, width, channels) in enumerate([(96, 128, 1), (90, 121, 1), (90, 121, 3)]):
        image, mask = step(temporal, network, 100 * n, view(scene, 20, height, width, channels))
        assert image.shape == (height, width, channels) and mask.shape == (height, width)
        assert network.got[-1].shape[1:3] == half_size(height, width)
        assert not network.got[-1][..., SEEN:].any()


def test_what_comes_into_view_is_the_restoration_and_not_seen(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network(keep=255)
    for n in range(3):
        step(temporal, network, 100 * n, view(scene, 20 + 8 * n))
    planes = network.got[-1][0]
    assert np.array_equal(planes[4:-4, -3:, 2], planes[4:-4, -3:, 1]) and not planes[4:-4, -3:, SEEN].any()
    assert planes[4:-4, 4:-8, SEEN].min() == 255


def test_the_share_that_was_seen_follows_the_weights(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network(keep=102, recall=127)
    for n in range(3):
        step(temporal, network, 100 * n, view(scene, 30))
    # 0.4, then 0.4 + 0.6 * 0.5 * 0.4
    assert np.median(network.got[1][..., SEEN]) == pytest.approx(102, abs=1)
    assert np.median(network.got[2][..., SEEN]) == pytest.approx(132, abs=2)


@pytest.mark.parametrize(("width", "channels"), [(128, 1), (121, 1), (128, 3), (126, 3)])
def test_what_is_not_kept_loses_its_detail_where_the_network_says_so(
    scene: np.ndarray, width: int, channels: int
) -> None:
    rng = np.random.default_rng(3)
    frame = view(scene, 20, 90, width, channels)
    restored = np.clip(frame + rng.normal(0, 20, frame.shape), 0, 255).astype(np.uint8)
    sharp, _ = step(TemporalFilter(), Network(recall=0), 0, frame, restored)
    smooth, _ = step(TemporalFilter(), Network(recall=0, smooth=255), 0, frame, restored)
    kept, _ = step(TemporalFilter(), Network(keep=255, smooth=255), 0, frame, restored)
    assert np.array_equal(sharp, restored[0]) and np.array_equal(kept, frame[0])
    assert smooth.shape == frame[0].shape and abs(smooth.mean() - restored.mean()) < 1
    noise = smooth - cv2.GaussianBlur(frame[0], (0, 0), 4).reshape(frame[0].shape).astype(float)
    assert np.abs(noise).mean() < 3
    half, _ = step(TemporalFilter(), Network(recall=0, smooth=128), 0, frame, restored)
    assert np.abs(half - (sharp.astype(float) + smooth) / 2).max() <= 2


def test_outputs_of_another_size_are_refused(scene: np.ndarray) -> None:
    class Smaller(Network):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {name: output[:, :-2] for name, output in super().run(image=image).items()}

    class Forgetful(Network):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            outputs = super().run(image=image)
            return outputs | {"memory": outputs["memory"][..., :2]}

    for network in (Smaller(), Forgetful()):
        with pytest.raises(EngineError, match="temporal: gave weights"):
            step(TemporalFilter(), network, 0, view(scene, 20))


@pytest.mark.parametrize("width", [128, 121, 126])
def test_a_scene_that_stands_still_keeps_what_was_seen_in_its_place(scene: np.ndarray, width: int) -> None:
    temporal, network = TemporalFilter(), Network()
    frame = view(scene, 20, 96, width)

    class Striped(Network):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            outputs = super().run(image=image)
            outputs["weights"][:, :, 30:34, 0] = 255 if len(self.got) == 1 else 0
            return outputs

    network = Striped()
    for n in range(8):
        step(temporal, network, 50 * n, frame)
    seen = network.got[-1][0, 20:30, :, SEEN].astype(float)
    assert (seen * np.arange(seen.shape[1])).sum() / seen.sum() == pytest.approx(31.5, abs=0.6)


def test_small_frames_stand_still_and_nothing_given_is_altered(scene: np.ndarray) -> None:
    for height, width in ((24, 120), (7, 40), (31, 160)):
        temporal, network = TemporalFilter(), Network()
        for n in range(3):
            frame, restored = view(scene, 20 + n, height, width), view(scene, 60 + n, height, width)
            given = frame.copy(), restored.copy()
            image, _ = step(temporal, network, 50 * n, frame, restored)
            assert np.array_equal(frame, given[0]) and np.array_equal(restored, given[1])
        assert np.array_equal(image, view(scene, 60, height, width)[0])  # it recalls what came first


def test_where_one_eye_has_no_past_neither_has_the_other(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network()
    both, mask = np.concatenate([view(scene, 20), view(scene, 25)]), np.zeros((2, 96, 128), np.uint8)
    for stamps in ([0, 0], [100, 100], [550, 610]):
        temporal.apply(network, ["left", "right"], [t * MS for t in stamps], both, both, mask)  # type: ignore[arg-type]
    assert network.got[1][..., MEMORY:].all() and not network.got[2][..., SEEN:].any() and not temporal.had_past


class Stage:
    """The filter as a stage, with a loader that has loaded `network`."""

    def __init__(self, network: Network) -> None:
        self.retired: list[tuple[tuple[int, ...], object]] = []
        loader = SimpleNamespace(
            engine=lambda wanted: network,
            is_out=lambda network: False,
            retire=lambda wanted, engine, error: self.retired.append((wanted.shape, engine)),
        )
        self.stage = Temporal(SimpleNamespace(name="temporal"), loader)  # type: ignore[arg-type]

    def join(
        self,
        at_ms: int,
        value: int,
        *sizes: tuple[int, ...],
        encoding: str = "mono8",
        levels: tuple[int, int] | None = None,
    ) -> Images:
        """Frames of these sizes, of 99, that were restored to `value` and have masks on their upper half."""
        images = Images(
            [f"camera_{n}" for n in range(len(sizes))],
            [Frame(np.full(size, 99, np.uint8), encoding, levels=levels) for size in sizes],
            at_ms * MS,
        )
        images.restored = [np.full_like(seen, value) for seen in images.seen]
        images.masks = [
            np.where(np.arange(len(seen))[:, None] < len(seen) // 2, 80, 70).astype(np.uint8)
            * np.ones(seen.shape[:2], np.uint8)
            for seen in images.seen
        ]
        images.models = ["restorer"]
        self.stage.run(images)
        return images


def values(images: Images) -> list[int]:
    return [int(image[5, 5, 0]) for image in images.restored or []]


def test_the_stage_joins_what_was_restored_batch_by_batch() -> None:
    network = Network()
    stage, sizes = Stage(network), ((40, 48), (33, 50), (40, 48))
    assert [wanted.shape for wanted in stage.stage.load([(2, 40, 48, 1), (1, 33, 50, 3)])] == [(2, 20, 24), (1, 18, 26)]
    assert values(stage.join(0, 50, *sizes)) == [50] * 3
    images = stage.join(100, 80, *sizes)
    assert values(images) == [50] * 3 and images.models == ["restorer", "temporal"]
    assert [planes.shape[:3] for planes in network.got[:2]] == [(2, 20, 24), (1, 18, 26)]
    # Pixels that the restorer holds for affected, from a probability of 0.3 on.
    assert network.got[0][0, :, 5, 3].tolist() == [255] * 10 + [0] * 10
    assert (
        [image.shape[:2] for image in images.restored or []]
        == [mask.shape for mask in images.masks or []]
        == list(sizes)
    )


@pytest.mark.parametrize("change", [{"encoding": "8UC1"}, {"levels": (0, 4096)}])
def test_a_frame_of_another_kind_is_joined_with_none_before(change: dict[str, object]) -> None:
    stage = Stage(Network())
    stage.join(0, 50, (40, 48))
    assert values(stage.join(100, 80, (40, 48), **change)) == [80]  # type: ignore[arg-type]


def test_colour_goes_through_the_same_network() -> None:
    stage = Stage(Network())
    images = stage.join(0, 50, (40, 48, 3), (40, 48, 3), encoding="rgb8")
    assert stage.stage.can(images.batches) and (images.restored or [])[0].shape == (40, 48, 3)
    assert values(stage.join(100, 80, (40, 48, 3), (40, 48, 3), encoding="rgb8")) == [50, 50]


def test_where_the_network_fails_nothing_is_changed_and_the_past_is_forgotten() -> None:
    class Failing(Network):
        error: Exception | None = None

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            if self.error is not None:
                raise self.error
            return super().run(image=image)

    network = Failing()
    stage = Stage(network)
    stage.join(0, 50, (40, 48))
    network.error = EngineError("temporal: broken")
    with pytest.raises(EngineError) as caught:
        stage.join(100, 80, (40, 48))
    stage.stage.fail(caught.value)
    assert stage.retired == [((1, 20, 24), network)]
    network.error = None
    assert values(stage.join(200, 70, (40, 48))) == [70] and values(stage.join(300, 80, (40, 48))) == [70]
    stage.stage.close()
    assert values(stage.join(400, 60, (40, 48))) == [60]


def test_what_the_restorer_finds_is_restored_though_the_memory_would_keep_it(scene: np.ndarray) -> None:
    temporal, network = TemporalFilter(), Network(keep=255)
    for n in range(2):
        step(temporal, network, 100 * n, view(scene, 20 + n))
    frame, mask = view(scene, 22), np.zeros((1, 96, 128), np.uint8)
    restored = 255 - frame
    mask[:, 30:60, 40:80] = 255  # a drop lands
    image, found = step(temporal, network, 200, frame, restored, mask)
    inner = np.s_[34:56, 44:76]
    assert (found[inner] == 255).all() and not np.array_equal(image[inner], frame[0][inner])
    assert np.array_equal(image[:20], frame[0][:20]), "elsewhere the frame is kept"


def test_the_past_is_forgotten_at_a_cut() -> None:
    random = np.random.default_rng(5)
    one, other = (cv2.GaussianBlur(random.integers(0, 256, (96, 128), np.uint8), (0, 0), 2.0) for _ in range(2))
    temporal, network = TemporalFilter(), Network()
    for n, image in enumerate((one, one, other)):
        stretched = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
        step(temporal, network, 100 * n, stretched[None, ..., None])
        assert network.got[-1][..., SEEN:].any() == (n == 1)
