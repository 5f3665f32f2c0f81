"""Which models the settings ask for, and which engine the detector gets."""

from __future__ import annotations

import dataclasses

import pytest
from fake_networks import BALANCED, DETECT, LIGHT, QUALITY, RAIN, TEMPORAL, manifest_of, model
from tiny_models import write_models

from derain_ros.config import Config
from derain_ros.engine import EngineError
from derain_ros.manifest import Manifest, ManifestError, Model
from derain_ros.runtime.loading import models
from derain_ros.runtime.loading.models import find_detector, find_restorers, find_temporal

INT8 = model("small", network="balanced", precision="int8")
RGB = model("colour", network="balanced", channels=3)
STEADY = dataclasses.replace(TEMPORAL, name="steady", network="steady")
STEADY_INT8 = dataclasses.replace(STEADY, name="steady_int8", precision="int8")


def test_models_of_one_network_and_its_channels_differ_in_precision_the_finest_first() -> None:
    networks = find_restorers(Config(), manifest_of(INT8, LIGHT, BALANCED, RGB, TEMPORAL, RAIN))
    assert [(network.name, network.models) for network in networks] == [
        ("balanced", (BALANCED, INT8)),
        ("light", (LIGHT,)),
        ("balanced", (RGB,)),
        ("rain", (RAIN,)),
    ]
    assert [(network.plan, network.channels, network.serves) for network in networks[1:]] == [
        ("light", 1, ()),
        ("balanced", 3, ()),
        ("balanced", 1, ("streak", "night_rain")),
    ]


def test_what_is_made_for_the_purpose_takes_its_rung() -> None:
    made = model("made", network="balanced_segmentation", purpose="segmentation")
    there = manifest_of(BALANCED, INT8, RGB, LIGHT, RAIN, made)
    found = {network.name for network in find_restorers(Config(), there)}
    assert found == {"balanced", "light", "rain"}, "for any use it is not taken"
    networks = find_restorers(Config(purpose="segmentation"), there)
    assert [(network.name, network.plan, network.channels) for network in networks] == [
        ("balanced", "balanced", 3),
        ("light", "light", 1),
        ("rain", "balanced", 1),
        ("balanced_segmentation", "balanced", 1),
    ], "colour has none of its own, and the network for rain stays"


def test_a_named_restorer_is_the_only_one_in_its_precision() -> None:
    [network] = find_restorers(Config(restorer="small"), manifest_of(BALANCED, INT8, RAIN))
    assert (network.name, network.models) == ("balanced", (INT8,))
    [network] = find_restorers(Config(restorer="rain"), manifest_of(BALANCED, RAIN))
    assert network.models == (RAIN,), "one that is made for some anomalies may be named for all"


@pytest.mark.parametrize(
    ("restorer", "given", "message"),
    [
        ("auto", (RAIN,), "no restorer that serves every anomaly"),
        ("auto", (), "no restorer that serves every anomaly"),
        ("best", (QUALITY,), "best: no such model"),
    ],
)
def test_without_a_restorer_for_all_anomalies_there_is_nothing_to_load(
    restorer: str, given: tuple[Model, ...], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        find_restorers(Config(restorer=restorer), manifest_of(*given))


def test_the_filter_is_the_one_that_is_named_in_all_its_precisions() -> None:
    manifest = manifest_of(BALANCED, TEMPORAL, STEADY_INT8, STEADY)
    assert find_temporal(Config(), manifest) is None
    for name, found in (
        ("temporal", (TEMPORAL,)),
        ("steady", (STEADY, STEADY_INT8)),
        ("steady_int8", (STEADY, STEADY_INT8)),
    ):
        network = find_temporal(Config(temporal=True, temporal_model=name), manifest)
        assert network is not None and network.models == found
    with pytest.raises(ManifestError, match="stedy: no such model"):
        find_temporal(Config(temporal=True, temporal_model="stedy"), manifest)


def test_a_model_of_another_task_is_refused() -> None:
    manifest = manifest_of(BALANCED, TEMPORAL)
    for find, settings, message in (
        (find_detector, {"detector": "balanced"}, "balanced: its task is to restore, not to detect"),
        (find_restorers, {"restorer": "detect"}, "detect: its task is to detect, not to restore"),
        (
            find_temporal,
            {"temporal": True, "temporal_model": "detect"},
            "detect: its task is to detect, not to join frames; name another model",
        ),
    ):
        with pytest.raises(EngineError, match=message):
            find(Config(**settings), manifest)  # type: ignore[operator]


def test_what_is_named_must_be_whole_and_the_others_are_looked_at_as_they_are_loaded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = write_models(tmp_path_factory.mktemp("damaged"))
    for name in ("restore_mono", "detect"):
        (directory / f"{name}.onnx").write_bytes(b"")
    manifest = Manifest.load(directory)
    assert find_restorers(Config(), manifest)
    for find, settings in ((find_restorers, {"restorer": "restore_mono"}), (find_detector, {})):
        with pytest.raises(ManifestError, match=r"onnx: sha256 is"):
            find(Config(**settings), manifest)  # type: ignore[operator]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were tried; all but ONNX Runtime fail."""
    tried: list[str] = []

    def load(model: Model, engine: str, threads: int, streams: int = 1) -> str:
        tried.append(engine)
        if engine != "onnxruntime":
            raise EngineError(f"{engine} is not installed")
        return engine

    monkeypatch.setattr(models, "load", load)
    return tried


@pytest.mark.parametrize(
    ("asked", "expected", "warned"),
    [
        ("auto", ["openvino", "onnxruntime"], False),
        ("openvino", ["openvino", "onnxruntime"], True),
        ("tensorrt", ["tensorrt", "onnxruntime"], True),
        ("onnxruntime", ["onnxruntime"], False),
    ],
)
def test_the_detector_falls_back_to_onnx_runtime(
    tried: list[str], caplog: pytest.LogCaptureFixture, asked: str, expected: list[str], warned: bool
) -> None:
    assert models.load_detector(DETECT, Config(engine=asked)) == "onnxruntime"
    assert tried == expected and ("takes over" in caplog.text) is warned


def test_an_engine_that_fails_without_another_is_told_of(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Model, engine: str, threads: int, streams: int = 1) -> str:
        raise EngineError("no engine at all")

    monkeypatch.setattr(models, "load", fail)
    with pytest.raises(EngineError, match="no engine at all"):
        models.load_detector(DETECT, Config(engine="onnxruntime"))


@pytest.mark.parametrize(
    ("engine", "cameras", "threads", "cores", "expected"),
    [
        ("auto", ["left", "right"], 0, 2, 2),
        ("openvino", ["left", "right"], 0, 8, 2),
        ("auto", ["front"], 0, 8, 1),
        ("auto", ["left", "right"], 1, 8, 1),
        ("auto", ["left", "right"], 0, 1, 1),
        ("onnxruntime", ["left", "right"], 0, 8, 1),
    ],
)
def test_each_eye_has_a_stream_of_its_own_in_openvino(
    monkeypatch: pytest.MonkeyPatch, engine: str, cameras: list[str], threads: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr(models, "physical_cores", lambda: list(range(cores)))
    monkeypatch.setattr(models, "load", lambda model, engine, threads, streams=1: streams)
    assert models.load_detector(DETECT, Config(engine=engine, cameras=cameras, threads=threads)) == expected
