from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from onnx import TensorProto, helper

from derain_ros.engine import EngineError, load
from derain_ros.engine.onnxruntime import OnnxRuntimeEngine, pad, physical_cores
from derain_ros.manifest import Manifest, Model


@pytest.mark.parametrize(("name", "channels"), [("restore_mono", 1), ("restore_rgb", 3)])
@pytest.mark.parametrize("size", [(16, 24), (13, 17), (1, 1), (16, 17), (15, 24)])
def test_any_size_goes_in_and_comes_out(manifest: Manifest, name: str, channels: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (2, *size, channels), np.uint8)
    outputs = load(manifest.get(name)).run(image=image)
    assert np.array_equal(outputs["restored"], np.minimum(image.astype(int) + 10, 255))
    assert np.array_equal(outputs["mask"], np.where(image.max(3) > 200, 255, 0))
    assert outputs["restored"].dtype == outputs["mask"].dtype == np.uint8


@pytest.mark.parametrize("streams", [2, 3])
def test_streams_give_what_one_batch_gives(manifest: Manifest, streams: int) -> None:
    model = manifest.get("restore_rgb")
    for number in (1, 2, 5):
        images = np.random.default_rng(number).integers(0, 256, (number, 13, 16, 3), np.uint8)
        side_by_side, together = load(model, "onnxruntime", 2, streams).run(image=images), load(model).run(image=images)
        assert side_by_side.keys() == together.keys()
        assert all(np.array_equal(side_by_side[name], together[name]) for name in together)


def test_a_read_only_view_with_gaps_is_taken(manifest: Manifest) -> None:
    whole = np.random.default_rng(1).integers(0, 200, (1, 16, 40, 1), np.uint8)
    before = whole.copy()
    view = whole[:, ::2, 3:27]
    view.flags.writeable = False
    assert np.array_equal(load(manifest.get("restore_mono")).run(image=view)["restored"], view + 10)
    assert np.array_equal(whole, before)


def test_the_detector_takes_its_own_size_only(manifest: Manifest) -> None:
    engine = load(manifest.get("detect"))
    outputs = engine.run(image=np.full((2, *tiny_models.DETECTOR_SIZE, 1), 150, np.uint8))
    assert outputs["probabilities"].shape == (2, 5) and outputs["mask"].shape == (2, 12, 16)
    with pytest.raises(EngineError, match="detect: takes images of 96x128, not 96x120"):
        engine.run(image=np.zeros((1, 96, 120, 1), np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint16),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((0, 8, 8, 1), np.uint8),
        np.zeros((1, 0, 8, 1), np.uint8),
    ],
)
def test_an_image_that_does_not_fit_is_refused(manifest: Manifest, image: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"restore_mono: takes uint8 images \(N, H, W, 1\), not"):
        load(manifest.get("restore_mono")).run(image=image)


def test_padding_repeats_the_edge() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    model = Model("a", "restore", Path("a.onnx"), "", 1, 4)
    assert pad(model, image)[0, ..., 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad(dataclasses.replace(model, stride=1), image) is image


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("streams", [1, 2])
def test_a_task_of_several_images_gets_each_by_its_name(manifest: Manifest, engine: str, streams: int) -> None:
    rng = np.random.default_rng(6)
    visible, infrared, hidden = (rng.integers(0, 256, (3, 21, 30, 1), np.uint8) for _ in range(3))
    fuser = load(manifest.get("fuse"), engine, 2, streams)
    fused = fuser.run(mask=hidden, infrared=infrared, visible=visible)["fused"]
    assert np.array_equal(fused, np.where(hidden > 127, infrared, np.maximum(visible, infrared)))
    for images, told in (
        ({"visible": visible, "infrared": infrared}, "takes visible, infrared, mask, not visible, "),
        ({"image": visible}, "takes visible, infrared, mask, not image"),
        (
            {"visible": visible, "infrared": infrared[:, 1:], "mask": hidden},
            r"takes images of one shape, not visible \(3, 21, 30, 1\) and infrared \(3, 20, 30, 1\)",
        ),
        (
            {"visible": visible, "infrared": infrared, "mask": hidden > 127},
            r"takes uint8 images \(N, H, W, 1\), not bool \(3, 21, 30, 1\) as mask",
        ),
    ):
        with pytest.raises(EngineError, match=told):
            fuser.run(**images)


def test_threads_are_as_asked_and_do_not_spin(manifest: Manifest) -> None:
    def options(threads: int) -> tuple[int, str]:
        session = OnnxRuntimeEngine(manifest.get("detect"), threads)._sessions[0].get_session_options()
        return session.intra_op_num_threads, session.get_session_config_entry("session.intra_op.allow_spinning")

    assert options(3) == (3, "0")
    assert options(0) == (len(physical_cores()), "0")


def test_two_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 4, 5}, raising=False)
    for cpu, siblings in {0: "0,4", 1: "1,5", 4: "0,4"}.items():
        directory = tmp_path / f"cpu{cpu}" / "topology"
        directory.mkdir(parents=True)
        (directory / "thread_siblings_list").write_text(siblings + "\n")
    # Nothing is known of CPU 5, so it counts as a core of its own.
    assert physical_cores(tmp_path) == [0, 1, 5]


def test_a_missing_runtime_is_told_with_its_remedy(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"pip install 'derain_ros\[cpu\]'"):
        load(manifest.get("detect"))


def test_an_unknown_engine_is_refused(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="warp: no such engine; there are auto, onnxruntime"):
        load(manifest.get("detect"), "warp")


def test_a_file_that_is_no_model_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"broken\.onnx: model detect cannot be loaded"):
        load(dataclasses.replace(manifest.get("detect"), file=file))
    with pytest.raises(EngineError, match=r"gone\.onnx: model detect cannot be loaded"):
        load(dataclasses.replace(manifest.get("detect"), file=tmp_path / "gone.onnx"))


def test_a_model_of_another_kind_is_refused(manifest: Manifest) -> None:
    detector, mono = manifest.get("detect"), manifest.get("restore_mono")
    with pytest.raises(EngineError, match=r"detect\.onnx: has no output restored, only probabilities, mask"):
        load(dataclasses.replace(mono, file=detector.file))
    with pytest.raises(EngineError, match=r"restore_mono\.onnx: inputs are .*'image', 'uint8', 1"):
        load(dataclasses.replace(manifest.get("restore_rgb"), file=mono.file))


def test_a_failing_run_is_an_engine_error_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # A graph that takes multiples of 16 only, described as if it took multiples of 8.
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("SpaceToDepth", ["planes"], ["deep"], blocksize=16),
        helper.make_node("Cast", ["deep"], ["restored"], to=TensorProto.UINT8),
        helper.make_node("Identity", ["restored"], ["mask"]),
    ]
    graph = tiny_models._model(
        nodes,
        {},
        [("image", TensorProto.UINT8, ["batch", "height", "width", 1])],
        [(name, TensorProto.UINT8, ["batch", 256, "h", "w"]) for name in ("restored", "mask")],
    )
    file = tmp_path / "picky.onnx"
    file.write_bytes(graph.SerializeToString())
    engine = load(Model("picky", "restore", file, "", 1, 8))
    engine.run(image=np.zeros((1, 16, 16, 1), np.uint8))
    with pytest.raises(EngineError, match=r"picky: cannot be run on \(1, 8, 8\)"):
        engine.run(image=np.zeros((1, 8, 8, 1), np.uint8))
    assert capfd.readouterr() == ("", "")
