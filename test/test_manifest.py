from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from derain_ros.manifest import Manifest, ManifestError
from derain_ros.tasks import TEMPORAL_PLANES

pytest.importorskip("onnx", reason="needs onnx to write models")
from tiny_models import CLASSES, DETECTOR_SIZE, write_manifest, write_models  # noqa: E402


def test_entries_are_read(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    assert list(manifest.models) == ["restore_mono", "restore_rgb", "detect"]
    rgb, detect = manifest.get("restore_rgb"), manifest.get("detect")
    assert (rgb.task, rgb.channels, rgb.stride, rgb.size, rgb.classes) == ("restore", 3, 8, None, ())
    assert rgb.file == tmp_path / "restore_rgb.onnx" and rgb.file.is_absolute()
    assert rgb.card == "restore_rgb.md"
    assert (detect.task, detect.classes, detect.size) == ("detect", CLASSES, DETECTOR_SIZE)


def test_figures_lie_beside_and_may_be_missing(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    model = manifest.get("restore_mono")
    assert manifest.figures(model) == {}
    path = tmp_path / "figures/restore_mono.yaml"
    path.parent.mkdir()
    path.write_text("psnr: 20.5\nimages: 3\n")
    assert manifest.figures(model) == {"psnr": 20.5, "images": 3}
    for text in ("psnr: [1.0]", "1: 2", "- 3", "psnr: good", "a: &a [*a]"):
        path.write_text(text)
        with pytest.raises(ManifestError, match="restore_mono.yaml: .*measure the model again or remove"):
            manifest.figures(model)


def test_what_a_restorer_is_made_for_is_read_and_has_defaults(tmp_path: Path) -> None:
    entries = _entries(tmp_path)
    entries[1] |= {"plan": "light", "precision": "int8", "serves": ["streak", "night_rain"], "not_for": ["dirt"]}
    entries[2] |= {"multi_label": True}
    write_manifest(tmp_path, entries)
    plain, made, detect = Manifest.load(tmp_path).models.values()
    assert (plain.plan, plain.precision, plain.serves, plain.multi_label) == ("balanced", "float32", (), False)
    assert (made.plan, made.precision, made.serves) == ("light", "int8", ("streak", "night_rain"))
    assert (plain.not_for, made.not_for) == ((), ("dirt",))
    assert detect.multi_label


def test_a_segmenter_has_classes_of_its_own(tmp_path: Path) -> None:
    entry = _entries(tmp_path)[1] | {"task": "segment", "classes": ["sky", "road"], "channels": 3}
    write_manifest(tmp_path, [entry])
    assert Manifest.load(tmp_path).get(entry["name"]).classes == ("sky", "road")
    for classes, told in ((None, "classes missing"), (["road"], "must be a list of names$")):
        write_manifest(tmp_path, [{k: v for k, v in (entry | {"classes": classes}).items() if v is not None}])
        with pytest.raises(ManifestError, match=told):
            Manifest.load(tmp_path)


def test_a_temporal_filter_takes_its_planes_and_nothing_else(tmp_path: Path) -> None:
    filter_ = Manifest.load(write_models(tmp_path, with_temporal=True)).get("temporal")
    assert (filter_.task, filter_.channels, filter_.stride) == ("temporal", TEMPORAL_PLANES, 2)
    entries = yaml.safe_load((tmp_path / "models.yaml").read_text())["models"]
    entries[-1] |= {"channels": 3}
    write_manifest(tmp_path, entries)
    with pytest.raises(ManifestError, match="channels is 3; it must be 9"):
        Manifest.load(tmp_path)


def test_a_relative_directory_gives_absolute_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_models(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    assert Manifest.load(Path("models")).get("detect").file == tmp_path / "models" / "detect.onnx"


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="restore_all: no such model .*detect, restore_mono, restore_rgb"):
        Manifest.load(write_models(tmp_path)).get("restore_all")


def test_verify_accepts_the_file_described(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    for model in manifest.models.values():
        manifest.verify(model)


def test_verify_refuses_a_changed_and_a_missing_file(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    model = manifest.get("detect")
    model.file.write_bytes(model.file.read_bytes()[:-1])
    with pytest.raises(ManifestError, match=r"detect\.onnx: sha256 is"):
        manifest.verify(model)
    model.file.unlink()
    with pytest.raises(ManifestError, match=r"detect\.onnx: cannot be read"):
        manifest.verify(model)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"models\.yaml: cannot be read"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("text", ["models: [", "- 1", "models: 3", "", "\x00"])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(ManifestError, match=r"models\.yaml: "):
        Manifest.load(tmp_path)


def laughs(depth: int) -> str:
    return "models:\n- &a0 [x, x]\n" + "".join(f"- &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, depth))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(60), "more than 16 levels"),
        (laughs(12), "model 1: must be a mapping"),
        ("models: [&a [x, *a]]", "refers to &a, which is not complete there"),
        ("a: &a [" + "x, " * 400 + "]\nmodels: [" + "*a, " * 400 + "]", "more than 65536 values"),
        ("[" * 100_000, "more than 16 levels"),
        ("models:\n" + "".join(" " * n + "a:\n" for n in range(1, 600)), "more than 16 levels"),
        ("models: [{name: " + "x" * 100_000 + "}]", "a value of 100000 characters"),
        ("#" * (1 << 19), "524288 bytes"),
        ("models: 2026-13-45", "not valid YAML: month"),
        ("models: !!python/name:os.system", "not valid YAML"),
        ("models: [{name: a, task: {" + ", ".join(f"k{n}: {n}" for n in range(9000)) + "}}]", "model 1 .a.: task is"),
        ("models: [{name: a, task: [" + "x, " * 9000 + "]}]", "task is"),
        ("models: [{1: 2}]", "unknown key 1"),
    ],
)
def test_a_hostile_manifest_is_refused_in_few_words(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(ManifestError, match=message) as caught:
        Manifest.load(tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["models.yaml", "detect.onnx"])
@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path), lambda path: os.symlink("/dev/zero", path)],
    ids=["fifo", "folder", "loop", "device"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    manifest = Manifest.load(write_models(tmp_path))
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with pytest.raises(ManifestError, match=name):
        Manifest.load(tmp_path) if name == "models.yaml" else manifest.verify(manifest.get("detect"))


def test_a_model_file_must_lie_in_the_folder(tmp_path: Path) -> None:
    write_models(tmp_path / "models")
    file = tmp_path / "models/detect.onnx"
    outside = file.rename(tmp_path / "detect.onnx")
    file.symlink_to(outside)
    manifest = Manifest.load(tmp_path / "models")
    with pytest.raises(ManifestError, match=r"detect\.onnx: cannot be read \(leads out of"):
        manifest.verify(manifest.get("detect"))
    entries = _entries_of(tmp_path / "models")
    entries[2]["file"] = "../detect.onnx"
    write_manifest(tmp_path / "models", entries)
    manifest = Manifest.load(tmp_path / "models")
    with pytest.raises(ManifestError, match="leads out of"):
        manifest.verify(manifest.get("detect"))


def test_a_folder_of_links_to_another_is_that_folder(tmp_path: Path) -> None:
    """As `colcon build --symlink-install` installs it."""
    write_models(tmp_path / "source")
    (tmp_path / "installed").mkdir()
    for file in (tmp_path / "source").iterdir():
        (tmp_path / "installed" / file.name).symlink_to(file)
    manifest = Manifest.load(tmp_path / "installed")
    for model in manifest.models.values():
        manifest.verify(model)


def test_a_model_with_weights_in_another_file_is_refused(tmp_path: Path) -> None:
    import onnx

    write_models(tmp_path)
    graph = onnx.load(tmp_path / "detect.onnx")
    assert graph.graph.initializer
    onnx.save(
        graph,
        tmp_path / "detect.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
        convert_attribute=True,
    )
    entries = _entries_of(tmp_path)
    entries[2]["sha256"] = hashlib.sha256((tmp_path / "detect.onnx").read_bytes()).hexdigest()
    write_manifest(tmp_path, entries)
    manifest = Manifest.load(tmp_path)
    with pytest.raises(ManifestError, match="keeps weights in another file"):
        manifest.verify(manifest.get("detect"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "guess"}, "task is 'guess'; it must be one of restore, detect"),
        ({"task": ["detect"]}, r"task is \['detect'\]"),
        ({"channels": 2}, "channels is 2"),
        ({"channels": True}, "channels is True, which is not of type int"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": 1 << 20}, "stride is 1048576; it must be between 1 and 128"),
        ({"scale": 9}, "scale is 9"),
        ({"sha256": None}, "sha256 is None, which is not of type str"),
        ({"colour": "blue"}, "unknown key 'colour'"),
        ({"size": [1, 2, 3]}, "size is"),
        ({"size": [0, 4]}, "size is"),
        ({"size": [4, 1 << 20]}, r"size is \[4, 1048576\]; it must be \[height, width\] of"),
        ({"classes": ["raindrop", "clean"]}, "classes is"),
        ({"classes": ["clean"]}, "classes is"),
        ({"multi_label": 1}, "multi_label is 1, which is not of type bool"),
        ({"plan": "best"}, "plan is 'best'; it must be one of quality, balanced, light"),
        ({"purpose": "art"}, "purpose is 'art'; it must be one of segmentation"),
        ({"precision": "float16"}, "precision is 'float16'; it must be one of float32, int8"),
        ({"serves": "dirt"}, "serves is 'dirt', which is not of type list"),
        ({"not_for": ["mud"]}, r"not_for is \['mud'\]; it must be a list of raindrop, dirt, streak, night_rain"),
        ({"serves": ["clean"]}, r"serves is \['clean'\]; it must be a list of raindrop, dirt, streak, night_rain"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    entry = _entries(tmp_path)[2] | change
    write_manifest(tmp_path, [entry])
    with pytest.raises(ManifestError, match=r"models\.yaml: model 1 \(detect\): " + message):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("key", ["task", "file", "sha256", "channels", "stride", "classes", "size"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    entry = _entries(tmp_path)[2]
    del entry[key]
    write_manifest(tmp_path, [entry])
    with pytest.raises(ManifestError, match="unknown key 'classes'" if key == "task" else f"{key} missing"):
        Manifest.load(tmp_path)


def test_an_entry_must_be_a_mapping_and_its_name_its_own(tmp_path: Path) -> None:
    entries = _entries(tmp_path)
    write_manifest(tmp_path, [entries[0], entries[0]])
    with pytest.raises(ManifestError, match="restore_mono is there twice"):
        Manifest.load(tmp_path)
    (tmp_path / "models.yaml").write_text("models: [1]")
    with pytest.raises(ManifestError, match="model 1: must be a mapping"):
        Manifest.load(tmp_path)


def _entries_of(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load((folder / "models.yaml").read_text())["models"]
    return entries


def _entries(directory: Path) -> list[dict[str, Any]]:
    write_models(directory)
    return yaml.safe_load((directory / "models.yaml").read_text())["models"]
