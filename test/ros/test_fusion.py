"""The thermal camera is fused with the left one: real node, real DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ros_bench import RELIABLE, Bench, at_ms, image_message, pixels_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tiny_models import BRIGHTER_BY, write_models
from waiting import wait_for

LEFT, THERMAL = (96, 128), (48, 64)
# Every second pixel of the left image, and no more than that.
TWICE = [2.0, 0.0, 0.5, 0.0, 2.0, 0.5, 0.0, 0.0, 1.0]
FUSED = "derained/fused/image_raw"
MIDDLE = np.s_[32:64, 40:88]


@pytest.fixture(scope="module")
def fusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models with a fuser: the brighter of both, infrared where the visible image is hidden."""
    return write_models(tmp_path_factory.mktemp("models"), with_fuser=True)


@pytest.fixture
def start_fusing(context: Any, fusing: Path) -> Iterator[Callable[..., Bench]]:
    """Start a node with a thermal camera; somebody subscribes to the fused images unless told otherwise."""
    benches: list[Bench] = []

    def start(subscribed: bool = True, arguments: tuple[str, ...] = (), **parameters: Any) -> Bench:
        parameters = {"thermal": True, "thermal_homography": TWICE, "cameras": ["left"]} | parameters
        bench = Bench(context, fusing, parameters, arguments=arguments)
        benches.append(bench)
        if subscribed:
            bench.fused = subscribe(bench)  # type: ignore[attr-defined]
        return bench.ready("ready", LEFT)

    yield start
    for bench in benches:
        bench.close()


def subscribe(bench: Bench) -> Any:
    """Subscribe to the fused images, and wait until the node knows."""
    found = bench._subscribe(Image, FUSED, RELIABLE)
    bench._subscribe(CameraInfo, "derained/fused/camera_info", RELIABLE)
    node = bench.derain
    wait_for(lambda: node._worker is not None and node._worker.fusion.wanted, "fusion to be wanted")
    return found


def view(level: int, seed: int = 0) -> np.ndarray:
    """Blocks of two greys around a level."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(-20, 21, (LEFT[0] // 8, LEFT[1] // 8))
    return np.kron(level + blocks, np.ones((8, 8))).astype(np.uint8)


def warmth(left: np.ndarray, spot: int = 250, noise: int = 0) -> np.ndarray:
    """What a thermal camera of half the size sees of it: fainter, with a warm spot in the middle."""
    seen = left[::2, ::2] // 2 + np.random.default_rng(noise).integers(0, 3, THERMAL).astype(np.uint8)
    seen[20:28, 26:38] = spot
    return seen.astype(np.uint8)


def send(
    bench: Bench,
    ms: float,
    thermal: np.ndarray | None,
    left: np.ndarray,
    encoding: str = "mono8",
    thermal_encoding: str = "mono8",
    thermal_ms: float | None = None,
) -> None:
    """One instant: the thermal frame first, then the left one."""
    if thermal is not None:
        at = ms if thermal_ms is None else thermal_ms
        bench.send("thermal", image_message(thermal, thermal_encoding, at, "warm"))
    bench.send("left", image_message(left, encoding, ms, "left_optical"))
    wait_for(lambda: any(at_ms(status) == ms for status in bench.got["/derain/status"]), f"the status of {ms} ms")


def fusion_at(bench: Bench, ms: float) -> str:
    """What ~/status says of fusion at an instant."""
    return bench.wait_status(ms)["left"][1].get("fusion", "")


def until_fused(bench: Bench, ms: float, left: np.ndarray, noise: int = 100) -> float:
    """Send instants until one is fused, as the fuser is loaded at first; the stamp of that one."""
    for k in range(1000):
        send(bench, ms, warmth(left, noise=noise + k), left)
        if fusion_at(bench, ms) == "fused":
            return ms
        ms += 50
    raise AssertionError(fusion_at(bench, ms - 50))


def fused(bench: Bench, ms: float) -> Image:
    """The fused image of an instant."""
    return wait_for(lambda: [image for image in bench.got[FUSED] if at_ms(image) == ms], f"the fused image of {ms}")[0]


def test_a_clean_image_is_fused_and_what_the_camera_publishes_stays(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing()
    left = view(60)
    ms = until_fused(bench, 1000, left)
    info = CameraInfo(header=Header(frame_id="left_optical"), height=LEFT[0], width=LEFT[1], k=np.eye(3).ravel())
    info.header.stamp.sec = 90
    bench.infos["left"].publish(info)
    wait_for(lambda: bench.derain._topics["left"]._infos._latest, "camera_info at the node")
    send(bench, 90_000, warmth(left, noise=5), left)
    image = fused(bench, 90_000)
    assert (image.header.frame_id, image.encoding, image.height, image.width) == ("left_optical", "mono8", *LEFT)
    assert (pixels_of(image)[44:52, 56:72] > 240).all(), "what is warm is seen"
    assert np.abs(pixels_of(image)[:8].astype(int) - left[:8]).max() <= 1, "beyond the thermal image there is the left"
    infos = wait_for(lambda: [i for i in bench.got["derained/fused/camera_info"] if at_ms(i) == 90_000], "camera_info")
    assert infos[0].k.tolist() == info.k.tolist() and infos[0].header.frame_id == "left_optical"
    passed = next(i for i in bench.restored("left") if at_ms(i) == 90_000)
    assert np.array_equal(pixels_of(passed), left) and bench.wait_status(90_000)["left"][0].message == "passed_clean"
    assert ms < 90_000


def test_a_wet_image_is_fused_after_it_was_restored(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing()
    wet = view(150)
    wet[MIDDLE] = 230
    ms = until_fused(bench, 1000, wet)
    send(bench, ms + 50, warmth(wet, 20), wet)
    status, values = bench.wait_status(ms + 50)["left"]
    assert (status.message, values["plan"], values["fusion"]) == ("restored", "balanced + fuse", "fused")
    assert values["models"] == "restore_mono, fuse" and float(values["fuse_ms"]) > 0
    shown = pixels_of(fused(bench, ms + 50))
    assert np.array_equal(shown[:30, 10:30], wet[:30, 10:30] + BRIGHTER_BY), "the restored image, which is brighter"
    # Under the mask, where the left camera sees nothing, infrared is seen though it is darker.
    assert (shown[44:50, 58:70] < 60).all()
    restored = next(i for i in bench.restored("left") if at_ms(i) == ms + 50)
    assert (pixels_of(restored)[MIDDLE] == 230 + BRIGHTER_BY).all(), "the left camera's image stays as it is"


def test_colour_is_that_of_the_visible_image_and_sixteen_bits_are_seen(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing()
    bench.warm_up((*LEFT, 3))
    left = np.dstack((view(40), view(60), view(90, 1)))
    ms = 1000.0
    for k in range(1000):
        kelvin = (29_000 + 8 * warmth(left[..., 1], noise=k).astype(np.uint16)).astype(np.uint16)
        kelvin[3, 5] = 65_535  # a hot pixel
        send(bench, ms := ms + 50, kelvin, left, "bgr8", "mono16")
        if fusion_at(bench, ms) == "fused":
            break
    image = fused(bench, ms)
    shown = pixels_of(image).astype(int)
    assert image.encoding == "bgr8"
    spot = shown[44:50, 58:70].reshape(-1, 3)
    assert (spot.mean(axis=1) > 150).all(), "the warm spot is bright, whatever one hot pixel says"
    outside = shown[30:40, 30:50]
    chroma, was = (outside[..., 0] - outside[..., 2], left[30:40, 30:50].astype(int))
    assert np.abs(chroma - (was[..., 0] - was[..., 2])).max() <= 4


def test_nothing_is_fused_while_nobody_subscribes(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing(subscribed=False)
    left = view(60)
    send(bench, 1000, warmth(left), left)
    assert "fusion" not in bench.wait_status(1000)["left"][1]
    subscription = subscribe(bench)
    ms = until_fused(bench, 2000, left)
    bench.node.destroy_subscription(subscription)
    node = bench.derain
    wait_for(lambda: node._worker is not None and not node._worker.fusion.wanted, "fusion to be wanted no more")
    send(bench, ms + 50, warmth(left, noise=9), left)
    assert "fusion" not in bench.wait_status(ms + 50)["left"][1]
    bench.wait_diagnostics(
        lambda found: (
            found["derain: thermal"]["fusion"].startswith("nobody") and int(found["derain: thermal"]["fused"]) >= 1
        ),
        "diagnostics",
    )


def test_a_third_of_the_rate_is_enough_and_gaps_are_told(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing(thermal_tolerance_ms=120.0)
    left = view(60)
    first = until_fused(bench, 1000, left) + 50
    for k in range(12):
        send(bench, first + 50 * k, warmth(left, noise=k) if k % 3 == 0 else None, left)
    assert {fusion_at(bench, first + 50 * k) for k in range(12)} == {"fused"}
    later = first + 50 * 12
    for k in range(4):
        send(bench, later + 50 * k, None, left)
    assert fusion_at(bench, later + 150) == "no thermal frame within 120 ms of the left one"
    assert [fusion_at(bench, later + 50 * k) == "fused" for k in range(4)] == [False] * 4
    told = bench.wait_diagnostics(lambda found: int(found["derain: thermal"].get("not_fused", 0)) >= 4, "diagnostics")
    assert int(told["derain: thermal"][1]["fused"]) >= 12
    send(bench, later + 200, warmth(left, noise=77), left)
    assert fusion_at(bench, later + 200) == "fused", "it comes back by itself"
    assert len(bench.wait_images("left", 17)) >= 17


def test_a_frozen_or_blank_image_is_not_fused(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing()
    left = view(60)
    first = until_fused(bench, 1000, left) + 50
    still = warmth(left, noise=500)
    for k in range(12):
        send(bench, first + 50 * k, still, left)
    states = [fusion_at(bench, first + 50 * k) for k in range(12)]
    assert states[:6] == ["fused"] * 6 and states[-1].startswith("the thermal image has been the same for 0.")
    send(bench, first + 600, warmth(left, noise=501), left)
    assert fusion_at(bench, first + 600) == "fused"
    send(bench, first + 650, np.full(THERMAL, 90, np.uint8), left)
    assert fusion_at(bench, first + 650) == "the thermal image shows nothing; is its shutter closed?"


def test_another_size_and_another_clock_are_told_and_it_comes_back(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing()
    left = view(60)
    first = until_fused(bench, 1000, left) + 50
    send(bench, first, cv2.resize(warmth(left, noise=1), (32, 24)), left)
    assert "are now 32x24 and 128x96, and were 64x48 and 128x96" in fusion_at(bench, first)
    send(bench, first + 50, warmth(left, noise=2), left)
    assert fusion_at(bench, first + 50) == "fused"
    for k in range(2, 8):
        send(bench, first + 50 * k, warmth(left, noise=k), left, thermal_ms=3_600_000 + first + 50 * k)
    assert "no thermal frame within 200 ms" in fusion_at(bench, first + 350)
    send(bench, first + 400, warmth(left, noise=9), left)
    assert fusion_at(bench, first + 400) == "fused"


def test_compressed_images_are_fused(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing(transport="compressed")
    left = view(60)

    def packed(image: np.ndarray, ms: float) -> CompressedImage:
        data = cv2.imencode(".png", image)[1]
        header = image_message(image, ms=ms).header
        return CompressedImage(header=header, format="mono8; png compressed ", data=data.tobytes())

    ms = 1000.0
    for k in range(1000):
        ms += 50
        bench.send("thermal", packed(warmth(left, noise=k), ms))
        bench.send("left", packed(left, ms))
        if fusion_at(bench, ms) == "fused":
            break
    assert (pixels_of(fused(bench, ms))[44:52, 56:72] > 240).all()


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([1.0, 2.0], "thermal_homography has 2 numbers and needs nine"),
        ([1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0], "cannot be inverted"),
        ([0.0] * 9, "the thermal camera's pose must be on /tf_static; give thermal_homography"),
    ],
)
def test_a_wrong_calibration_is_an_error_and_all_else_goes_on(
    start_fusing: Callable[..., Bench], numbers: list[float], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = start_fusing(thermal_homography=numbers)
    left = view(60)
    send(bench, 1000, warmth(left), left)
    assert np.array_equal(pixels_of(bench.wait_images("left", 1)[0]), left)
    assert bench.wait_status(1000)["left"][0].message == "passed_clean" and fusion_at(bench, 1000)
    error = next(line for line in capfd.readouterr().err.splitlines() if "fusion is off" in line)
    assert "[ERROR]" in error and told in error


def test_both_camera_info_and_the_place_of_the_thermal_camera_register_it(start_fusing: Callable[..., Bench]) -> None:
    bench = start_fusing(
        thermal_homography=[0.0] * 9, thermal_distance=5.0, thermal_extrinsic=[0.0, 0.001, 0.0, 0.0, 0.0, 0.0]
    )
    left = view(60)
    send(bench, 1000, warmth(left), left)
    assert fusion_at(bench, 1000) == (
        "no camera_info of the left camera has come; publish it, or give thermal_homography, which needs none"
    )
    infos = {"left": bench.infos["left"], "thermal": bench.node.create_publisher(CameraInfo, "thermal/camera_info", 5)}
    wait_for(lambda: infos["thermal"].get_subscription_count(), "the node to listen to thermal/camera_info")
    for (camera, publisher), (height, width), focal in zip(infos.items(), (LEFT, THERMAL), (100.0, 50.0), strict=True):
        publisher.publish(
            CameraInfo(
                header=Header(frame_id=camera),
                height=height,
                width=width,
                distortion_model="plumb_bob",
                d=[0.0] * 5,
                k=[focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1],
                r=np.eye(3).ravel(),
                p=[focal, 0, (width - 1) / 2, 0, 0, focal, (height - 1) / 2, 0, 0, 0, 1, 0],
            )
        )
    geometry = bench.derain._worker.fusion.thermal.geometry  # type: ignore[union-attr]
    wait_for(lambda: len(geometry._lenses) == 2, "both camera_info")
    ms = until_fused(bench, 2000, left)
    assert (pixels_of(fused(bench, ms))[44:52, 56:72] > 240).all()
