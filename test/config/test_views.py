"""The views of Foxglove and rviz2 show what the node publishes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "config"
LAYOUT = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]
RVIZ = yaml.safe_load((CONFIG / "derain.rviz").read_text(encoding="utf-8"))
IMAGES = {
    topic
    for camera in ("left", "right")
    for topic in (f"/{camera}/image_raw", f"/derained/{camera}/image_raw", f"/derained/{camera}/anomaly_mask")
} | {"/thermal/image_raw", "/derained/fused/image_raw"}
OTHERS = {"/derain/anomaly", "/derain/status", "/diagnostics"}
FILTER = re.compile(r'\.(\w+)\[:\]\{(\w+)=="(\w+)"\}')


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Of a node without a namespace: by name, the types of its topics; by topic and name, the keys of its reports."""
    for name in ("rclpy", "onnx", "onnxruntime"):
        pytest.importorskip(name)
    import rclpy
    from ros_bench import Bench
    from tiny_models import write_models

    context = rclpy.Context()
    rclpy.init(context=context)
    models = write_models(tmp_path_factory.mktemp("models"), with_fuser=True)
    thermal = {"thermal": True, "thermal_homography": np.eye(3).ravel().tolist()}
    bench = Bench(context, models, thermal).ready()
    bench.send_pair(100, *[np.full((24, 32), 180, np.uint8)] * 2)
    reports = bench.wait_diagnostics(lambda reports: "derain" in reports, "a report of the node")
    keys = {
        "/derain/status": {name: set(values) for name, (_, values) in bench.wait_status(100).items()},
        "/diagnostics": {name: set(values) for name, (_, values) in reports.items()},
    }
    topics = {
        name: kind
        for found in (
            bench.derain.get_publisher_names_and_types_by_node,
            bench.derain.get_subscriber_names_and_types_by_node,
        )
        for name, (kind,) in found("derain", "/")
    }
    yield {"topics": topics, "keys": keys, "hardware": {name: told.hardware_id for name, (told, _) in reports.items()}}
    bench.close()
    rclpy.try_shutdown(context=context)


def message_paths() -> list[str]:
    """The paths of messages that plots and other panels of Foxglove read."""
    paths = [path["value"] for panel in PANELS.values() for path in panel.get("paths", [])]
    return paths + [panel["path"] for panel in PANELS.values() if "path" in panel]


def foxglove_topics() -> dict[str, set[str]]:
    """The topics of the layout, by the type of message that a panel can read."""
    image = {panel["imageMode"]["imageTopic"] for panel in PANELS.values() if "imageMode" in panel}
    diagnostics = {panel["topicToRender"] for panel in PANELS.values() if "topicToRender" in panel}
    read = {path.partition(".")[0] for path in message_paths()}
    return {"image": image, "diagnostics": diagnostics, "read": read}


def leaves(layout: dict[str, Any] | str) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
        yield from leaves(layout["first"])
        yield from leaves(layout["second"])


def test_foxglove_shows_each_panel_once() -> None:
    assert sorted(leaves(LAYOUT["layout"])) == sorted(PANELS)
    kinds = {name.partition("!")[0] for name in PANELS}
    assert kinds == {"Image", "Indicator", "StateTransitions", "Plot", "DiagnosticSummary", "DiagnosticStatusPanel"}


def test_foxglove_names_topics_of_the_node(node: dict[str, Any]) -> None:
    topics, types = foxglove_topics(), node["topics"]
    assert topics["image"] == IMAGES
    assert {types[topic] for topic in topics["image"]} == {"sensor_msgs/msg/Image"}
    assert {types[topic] for topic in topics["diagnostics"]} == {"diagnostic_msgs/msg/DiagnosticArray"}
    assert topics["diagnostics"] | topics["read"] == OTHERS <= types.keys()


def test_foxglove_reads_what_the_messages_hold(node: dict[str, Any]) -> None:
    for path in message_paths():
        topic = path.partition(".")[0]
        if node["topics"][topic] == "std_msgs/msg/Bool":
            assert path == f"{topic}.data"
            continue
        (statuses, by, name), (values, key_field, key) = FILTER.findall(path)
        assert (statuses, by, values, key_field) == ("status", "name", "values", "key") and path.endswith("}.value")
        assert key in node["keys"][topic][name], path
    panel = PANELS["DiagnosticStatusPanel!derain"]
    assert node["hardware"][panel["selectedName"]] == panel["selectedHardwareId"]


def test_rviz_shows_the_images_of_the_node(node: dict[str, Any]) -> None:
    displays = RVIZ["Visualization Manager"]["Displays"]
    assert {display["Class"] for display in displays} == {"rviz_default_plugins/Image"}
    topics = [display["Topic"]["Value"] for display in displays]
    assert sorted(topics) == sorted(IMAGES) and len({display["Name"] for display in displays}) == len(displays)
    assert {node["topics"][topic] for topic in topics} == {"sensor_msgs/msg/Image"}
    # Cameras often publish with best effort, which a reliable display would not be given.
    assert {display["Topic"]["Reliability Policy"] for display in displays} == {"Best Effort"}
