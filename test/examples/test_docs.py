"""What docs/ says of topics and files is so."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from derain_ros.manifest import Manifest

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("s*.md"))}
"""The pages on SLAM and segmentation."""


@pytest.fixture(scope="module")
def topics() -> set[str]:
    """The topics of a node in the namespace camera."""
    for name in ("rclpy", "onnx", "onnxruntime"):
        pytest.importorskip(name)
    from node_topics import topics_of_node

    published, subscribed = topics_of_node("/camera")
    return published.keys() | subscribed.keys()


@pytest.mark.parametrize("name", DOCS)
def test_topics_are_those_of_the_node(name: str, topics: set[str]) -> None:
    named = set(re.findall(r"/camera/[a-z_]+/[a-z_/]+", DOCS[name]))
    assert len(named) > 1 and named <= topics
    short = set(re.findall(r"`(derained/[a-z_/]+)`", DOCS[name]))
    assert {f"/camera/{topic}" for topic in short} <= topics


@pytest.mark.parametrize("name", DOCS)
def test_links_and_commands_name_files_that_exist(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", DOCS[name])
    assert links
    for target, anchor in links:
        path = ROOT / "docs" / target
        assert path.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    commands = re.findall(r"examples/[\w.]+", DOCS[name])
    assert commands and all((ROOT / command).is_file() for command in commands)


def test_arguments_of_launch_files_are_declared() -> None:
    for text in DOCS.values():
        for file, words in re.findall(r"^ros2 launch (examples/\S+)(.*)$", text, re.M):
            declared = re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', (ROOT / file).read_text(encoding="utf-8"))
            assert set(re.findall(r"(\w+):=", words)) <= set(declared), file


def test_the_entry_of_a_segmenter_is_read_as_the_page_has_it(tmp_path: Path) -> None:
    entry = re.search(r"^```yaml\n(models:.*?)^```", DOCS["segmentation.md"], re.M | re.S)
    assert entry
    (tmp_path / "models.yaml").write_text(entry[1], encoding="utf-8")
    model = Manifest.load(tmp_path).get("mine")
    assert (model.task, model.classes, model.stride) == ("segment", ("road", "sky", "person"), 32)


def test_the_parameters_of_the_segmentation_node_are_those_of_the_page() -> None:
    source = (ROOT / "examples/segmentation_node.py").read_text(encoding="utf-8")
    (declared,) = re.findall(r"defaults = \{(.*?)\}", source)
    page = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", DOCS["segmentation.md"], re.M)
    assert re.findall(r'"(\w+)": ', declared) == page


def test_views_of_a_namespace_are_made_as_the_page_says(tmp_path: Path) -> None:
    commands = re.search(r"^sed -E -e.*?camera\.rviz$", DOCS["slam.md"], re.M | re.S)
    assert commands
    for name in ("foxglove.json", "derain.rviz"):
        (tmp_path / name).write_bytes((ROOT / "config" / name).read_bytes())
    subprocess.run(["sh", "-ec", commands.group()], cwd=tmp_path, check=True)
    layout = (tmp_path / "camera.json").read_text(encoding="utf-8")
    json.loads(layout)
    for text in (layout, (tmp_path / "camera.rviz").read_text(encoding="utf-8")):
        named = re.findall(r"/[a-z]+(?:/[a-z_]+)+", text)
        assert named and all(topic.startswith("/camera/") for topic in named)
    assert '"derain' not in layout
