from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tiny_models import write_models
from typer.testing import CliRunner, Result

from derain_ros.cli import doctor
from derain_ros.cli.main import app
from derain_ros.resources import default_file
from derain_ros.ros.transport import PROFILE

pytest.importorskip("rclpy")


@pytest.fixture()
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny models, on a machine where all is well."""
    monkeypatch.setenv(PROFILE, str(default_file("fastdds.xml")))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    return write_models(tmp_path / "models")


def examine(models: Path) -> Result:
    """Run `derain doctor` with these models."""
    return CliRunner().invoke(app, ["doctor", "--models", str(models)])


def line(result: Result, subject: str) -> list[str]:
    """State, finding and remedy, "" where there is none, of one subject."""
    lines = result.output.splitlines()
    (number,) = (n for n, text in enumerate(lines) if text[6:21].strip() == subject and text[:4].strip())
    after = lines[number + 1].strip()
    return [lines[number][:5].strip(), lines[number][21:], after if after.startswith("do: ") else ""]


def test_all_is_well(models: Path) -> None:
    result = examine(models)
    assert result.exit_code == 0, result.output
    for subject in ("Python", "ROS 2", "engine", "processor", "models", "transport", "discovery"):
        assert line(result, subject)[0] == "ok", result.output
    assert "rmw_fastrtps_cpp" in line(result, "ROS 2")[1]
    assert line(result, "models")[1] == "restore_mono, restore_rgb, detect: verified, each ran once"
    assert result.output.splitlines()[-1] == "The node can run."


@pytest.mark.parametrize(
    ("module", "subject", "remedy"),
    [
        ("rclpy.utilities", "ROS 2", "pip install 'derain_ros[ros]'"),
        ("std_srvs.srv", "ROS 2", "pip install 'derain_ros[ros]'"),
        ("onnxruntime", "engine", "pip install 'derain_ros[cpu]'"),
    ],
)
def test_what_the_node_needs_is_a_lack(
    models: Path, module: str, subject: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = examine(models)
    assert result.exit_code == 1
    assert line(result, subject)[0] == "lack"
    assert module in line(result, subject)[1]
    assert remedy in line(result, subject)[2]
    assert result.output.splitlines()[-1].startswith(f"The node cannot restore: see {subject}")


def test_ros_that_does_not_load_is_a_lack(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("librcl.so: cannot open shared object file")

    monkeypatch.setattr("rclpy.utilities.get_rmw_implementation_identifier", fail)
    result = examine(models)
    assert result.exit_code == 1
    assert line(result, "ROS 2")[:2] == ["lack", "rclpy does not load: librcl.so: cannot open shared object file"]


def test_damaged_model_is_a_lack(models: Path) -> None:
    (models / "detect.onnx").write_bytes(b"damaged")
    result = examine(models)
    assert result.exit_code == 1
    state, found, remedy = line(result, "models")
    assert (state, remedy != "") == ("lack", True)
    assert str(models / "detect.onnx") in found


def test_a_model_of_the_node_that_is_not_there_is_a_lack(models: Path) -> None:
    manifest = models / "models.yaml"
    entries = yaml.safe_load(manifest.read_text())["models"]
    manifest.write_text(yaml.safe_dump({"models": [entry for entry in entries if entry["name"] != "restore_rgb"]}))
    result = examine(models)
    assert result.exit_code == 1
    assert line(result, "models")[0] == "lack" and "no restorer for colour images" in line(result, "models")[1]


def test_whole_model_that_does_not_run_is_a_lack(models: Path) -> None:
    manifest = models / "models.yaml"
    manifest.write_text(manifest.read_text().replace("- 96\n", "- 80\n"))
    result = examine(models)
    assert result.exit_code == 1
    assert line(result, "models")[1].startswith("verified, but they do not run: ")


def test_variables_that_keep_nodes_apart_are_seen(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROFILE)
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    result = examine(models)
    assert result.exit_code == 0
    state, found, _ = line(result, "transport")
    assert state == "ok" and "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA" in found
    assert line(result, "discovery")[0] == "note" and "ROS_AUTOMATIC_DISCOVERY_RANGE" in line(result, "discovery")[2]


def test_transport_without_a_profile_says_what_to_export(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROFILE)
    result = examine(models)
    assert result.exit_code == 0
    assert line(result, "transport")[0] == "note"
    assert f"export {PROFILE}={default_file('fastdds.xml')}" in line(result, "transport")[2]


def test_too_little_shared_memory_is_a_note(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    result = examine(models)
    assert result.exit_code == 0
    assert line(result, "shared memory")[:2] == ["note", "1 MiB free"]
    assert line(result, "disk")[0] == "note"


def test_missing_library_of_some_commands_is_a_note(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    result = examine(models)
    assert result.exit_code == 0
    assert line(result, "replay") == [
        "note",
        "rosbags is not installed; only derain replay and derain demo need it",
        "do: pip install 'derain_ros[replay]'",
    ]


@pytest.mark.parametrize(
    ("script", "found"), [("echo 'A GPU, 570.1'", "A GPU, 570.1; "), ("exit 9", "nvidia-smi fails")]
)
def test_gpu_is_told(script: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert doctor.devices()[-1].subject == "GPU"
    assert doctor.devices()[-1].found.startswith(found)


def test_a_folder_for_engines_that_cannot_be_written_is_a_note(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "file/below"))
    state, found, remedy = line(examine(models), "engine cache")
    assert state == "note" and "cannot be kept in" in found and "export DERAIN_CACHE" in remedy
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "cache"))
    assert line(examine(models), "engine cache") == ["ok", f"{tmp_path / 'cache'}: 0 MB", ""]
    assert not list((tmp_path / "cache").glob("*.part"))
