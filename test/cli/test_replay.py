"""`derain replay` as a user calls it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_models
from typer.testing import CliRunner

from derain_ros.cli.main import app

pytest.importorskip("rosbags")

from rosbags.typesys import Stores, get_typestore  # noqa: E402

from derain_ros.frame import Frame  # noqa: E402
from derain_ros.replay.account import Account  # noqa: E402
from derain_ros.replay.bag import BagReader, BagWriter  # noqa: E402
from derain_ros.replay.images import image_of  # noqa: E402
from derain_ros.replay.record import Record  # noqa: E402

runner = CliRunner()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "a bag"
    with BagWriter(path) as writer:
        for k in range(12):
            for camera in ("cam0", "cam1"):
                image = np.full((48, 64), 150 if k > 5 else 50, np.uint8)
                writer.put(
                    f"/{camera}/image_raw",
                    1 + k * 10**8,
                    image_of(writer.types, Frame(image, "mono8", k * 10**8, camera)),
                )
    return path


def test_offline(bag: Path, tmp_path: Path) -> None:
    models, output = write_models(tmp_path / "models"), tmp_path / "out"
    result = runner.invoke(app, ["replay", str(bag), "--output", str(output), "--models", str(models)])
    assert result.exit_code == 0, result.output
    assert "left /cam0/image_raw" in result.output and "restored" in result.output
    assert f"written: {output}" in result.output and f"report:  {output / 'report.html'}" in result.output
    record = Record.read(output / "record.json")
    assert record.account.total()["out"] == 24 and record.account.plans and "detect by " in record.account.engines
    assert len(record.pictures) == 6 and all(
        set(shown.images) == {"seen", "published", "reconstructed"} for shown in record.pictures
    )
    assert "Before and after" in (output / "report.html").read_text()
    with BagReader(output) as reader:
        assert reader.topics["/derained/right/image_raw"].count == 12


def test_names_need_not_be_text(bag: Path, tmp_path: Path) -> None:
    odd, output = (tmp_path / os.fsdecode(name) for name in (b"b\xff\xfeg", b"o\xff"))
    bag.rename(odd)
    result = runner.invoke(
        app, ["replay", str(odd), "--output", str(output), "--models", str(write_models(tmp_path / "models"))]
    )
    assert result.exit_code == 0, result.output
    assert b"written: " + os.fsencode(output) in result.stdout_bytes
    assert "derain: b??g" in (output / "report.html").read_text()
    with BagReader(output) as reader:
        assert reader.topics["/derained/left/image_raw"].count == 12
    result = runner.invoke(app, ["replay", str(odd / "none"), "--output", str(tmp_path / "out")])
    assert result.exit_code == 1 and "does not exist" in result.output


@pytest.mark.parametrize("kind", ["pipe", "/dev/null"])
def test_a_pipe_is_no_bag_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = runner.invoke(app, ["replay", str(tmp_path / kind), "--output", str(tmp_path / "out")])
    assert result.exit_code == 1 and "is a pipe or a device, not a folder" in result.output


def test_what_is_not_read_of_a_bag_is_told(bag: Path, tmp_path: Path) -> None:
    (bag / "other.mcap").write_bytes((bag / f"{bag.name}.mcap").read_bytes())
    result = runner.invoke(
        app, ["replay", str(bag), "--output", str(tmp_path / "out"), "--models", str(write_models(tmp_path / "models"))]
    )
    told = "other.mcap is not read, because metadata.yaml does not name it"
    assert result.exit_code == 0 and told in result.output and told in (tmp_path / "out/report.html").read_text()


def test_the_robots_parameters(bag: Path, tmp_path: Path) -> None:
    models, file = write_models(tmp_path / "models"), tmp_path / "robot.yaml"
    arguments = ["replay", str(bag), "--output", str(tmp_path / "out"), "--config", str(file)]
    file.write_text(
        f"/**:\n  ros__parameters: {{models: {models}, enabled: false, budget_ms: 1, use_sim_time: true}}\n"
    )
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0 and "passed disabled" in result.output and "restored" in result.output
    for text, told in (
        ("/**:\n  ros__parameters: {colour: 1}\n", "colour: no such setting"),
        ("left: 1\n", "holds no ros__parameters"),
        ("a: [", "cannot be read"),
    ):
        file.write_text(text)
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2 and told in result.output


def test_named_cameras_and_damage(bag: Path, tmp_path: Path) -> None:
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-3000])
    result = runner.invoke(
        app,
        [
            "replay",
            str(file),
            "--output",
            str(tmp_path / "out"),
            "--camera",
            "front=/cam1/image_raw",
            "--models",
            str(write_models(tmp_path / "models")),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "front" in result.output and "other images: /cam0/image_raw" in result.output
    assert "cut off" in result.output or "without a footer" in result.output
    assert "messages were read" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere", "--output", "out"], 1, "does not exist"),
        (["BAG", "--output", "BAG"], 1, "exists already"),
        (["BAG", "--output", "out", "--camera", "left"], 2, "NAME=/TOPIC"),
        (["BAG", "--output", "out", "--camera", "left=/none"], 1, "image topics there: /cam0/image_raw"),
        (["BAG", "--output", "out", "--camera", "left=/cam0/image_raw", "--camera", "left=none"], 2, "named twice"),
        (["BAG", "--output", "out", "--camera", "thermal=/cam0/image_raw"], 2, "--thermal"),
        (["BAG", "--output", "out", "--camera", "left=none", "--camera", "right=none"], 1, "no camera found"),
        (["BAG", "--output", "out", "--rate", "2"], 2, "--live"),
        (["BAG"], 2, "--output"),
    ],
)
def test_mistakes(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    models = write_models(tmp_path / "models")
    result = runner.invoke(app, ["replay", *(a.replace("BAG", str(bag)) for a in arguments), "--models", str(models)])
    assert result.exit_code == code, result.output
    assert says in result.output
    assert "Traceback" not in result.output


def test_no_right_camera_and_a_topic_that_is_not_of_ros_2(tmp_path: Path) -> None:
    from mcap.writer import Writer

    models, file, output = write_models(tmp_path / "models"), tmp_path / "a.mcap", tmp_path / "out"
    types = get_typestore(Stores.ROS2_JAZZY)
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2", "")
        definition = types.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)[0].encode()
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", definition)
        channels = [writer.register_channel(f"/{name}/image_raw", "cdr", schema, {}) for name in ("left", "right")]
        channels.append(writer.register_channel("/plan", "json", 0))
        image = image_of(types, Frame(np.full((48, 64), 50, np.uint8), "mono8", 1, "eye"))
        for channel in channels:
            writer.add_message(channel, 1, bytes(types.serialize_cdr(image, "sensor_msgs/msg/Image")), 1)
        writer.finish()
    result = runner.invoke(
        app,
        [
            "replay",
            str(file),
            "--output",
            str(output),
            "--models",
            str(models),
            "--camera",
            "right=none",
            "--thermal",
            "none",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "cameras: left /left/image_raw\n" in result.output and "damaged" not in result.output
    assert "left out, because ROS 2 plays only messages in CDR: /plan (json)" in result.output
    with BagReader(output) as reader:
        assert {"/left/image_raw", "/right/image_raw", "/derained/left/image_raw"} <= set(reader.topics)
        assert not {"/plan", "/derained/right/image_raw"} & set(reader.topics)


def test_live_keeps_away_from_the_robot(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    domains: list[str] = []

    def play(*arguments: object) -> Account:
        domains.append(os.environ["ROS_DOMAIN_ID"])
        (tmp_path / "out").mkdir()
        return Account()

    monkeypatch.setattr("derain_ros.replay.player.play", play)
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    result = runner.invoke(app, ["replay", str(bag), "--output", str(tmp_path / "out"), "--live"])
    assert result.exit_code == 0, result.output
    assert domains and domains[0] != "0"


def test_help_has_examples() -> None:
    result = runner.invoke(app, ["replay", "--help"])
    assert result.exit_code == 0 and "Examples:" in result.output and "--rate 0.5" in result.output


def test_importing_the_command_is_light() -> None:
    import subprocess

    code = (
        "import sys, derain_ros.cli.main; sys.exit(bool({'rosbags', 'rclpy', 'matplotlib', 'cv2'} & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
