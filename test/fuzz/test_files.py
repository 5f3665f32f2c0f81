"""Files as anybody may hand them over: they are read, or an error of ours names the file and what is wrong."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import write_models

from derain_ros.config import Config, ConfigError, read_parameters
from derain_ros.frame import Frame
from derain_ros.manifest import MANIFEST_NAME, Manifest, ManifestError

sys.path.insert(0, str(Path(__file__).parent))

from mutations import VALUES, damaged  # noqa: E402

ROOT = Path(__file__).parents[2]
PARAMETERS = (ROOT / "config" / "derain.yaml").read_bytes()
NAMES = sorted(Config.__dataclass_fields__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), VALUES, max_size=3))
def test_settings(values: dict[str, Any]) -> None:
    try:
        Config.from_mapping(values)
    except ConfigError as error:
        assert str(error)


@given(data=damaged(PARAMETERS))
def test_parameter_files(folder: Path, data: bytes) -> None:
    path = folder / "derain.yaml"
    path.write_bytes(data)
    try:
        Config.from_mapping(read_parameters(path))
    except ConfigError as error:
        assert str(error)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def use(models: Path) -> None:
    """All that is asked of a manifest before a network is loaded."""
    try:
        manifest = Manifest.load(models)
    except ManifestError as error:
        assert MANIFEST_NAME in str(error)
        return
    for model in manifest.models.values():
        try:
            manifest.figures(model)
            manifest.verify(model)
        except ManifestError as error:
            assert str(error)


@given(data=st.data())
def test_manifests(models: Path, data: st.DataObject) -> None:
    path = models / MANIFEST_NAME
    valid = path.read_bytes()
    content = yaml.safe_load(valid)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(valid)))
    else:
        entry = data.draw(st.sampled_from(content["models"]))
        entry[data.draw(st.sampled_from([*entry, "size", "scale", "serves", "not_for", "purpose"]))] = data.draw(VALUES)
        path.write_text(yaml.safe_dump(content))
    try:
        use(models)
    finally:
        path.write_bytes(valid)


@given(data=st.data())
def test_what_lies_in_the_place_of_a_model_is_refused(models: Path, data: st.DataObject) -> None:
    manifest = Manifest.load(models)
    model = manifest.get("restore_mono")
    valid = model.file.read_bytes()
    content = data.draw(damaged(valid))
    model.file.write_bytes(content)
    try:
        if content == valid:
            manifest.verify(model)
        else:
            with pytest.raises(ManifestError, match=model.file.name):
                manifest.verify(model)
    finally:
        model.file.write_bytes(valid)


def bag(folder: Path) -> Path:
    """A small bag of images of two cameras."""
    from derain_ros.replay.bag import BagWriter
    from derain_ros.replay.images import image_of

    with BagWriter(folder / "bag") as writer:
        for k in range(4):
            for camera in ("left", "right"):
                image = np.full((6, 8), 20 * k, np.uint8)
                writer.put(f"/{camera}/image_raw", 10**9 + k, image_of(writer.types, Frame(image, "mono8", k, camera)))
    return folder / "bag"


def read(path: Path) -> None:
    """Every message of a bag, and the frames in it."""
    from derain_ros.replay.bag import BagReader
    from derain_ros.replay.records import ReplayError
    from derain_ros.runtime.input.messages import ImageError, frame_of

    try:
        with BagReader(path) as reader:
            for message in reader.messages():
                try:
                    frame_of(reader.decode(message))
                except (ImageError, ReplayError) as error:
                    assert str(error)
    except ReplayError as error:
        assert str(error)


@pytest.fixture(scope="module")
def mcap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("rosbags")
    return bag(tmp_path_factory.mktemp("mcap"))


@given(data=st.data())
def test_bags_of_mcap(mcap: Path, data: st.DataObject) -> None:
    [file] = mcap.glob("*.mcap")
    spoil_and_read(mcap, data.draw(st.sampled_from([file, mcap / "metadata.yaml"])), data)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    path = tmp_path_factory.mktemp("sqlite") / "bag"
    types = get_typestore(Stores.ROS2_JAZZY)
    from derain_ros.replay.images import image_of

    with rosbag2.Writer(path, version=9) as writer:
        connection = writer.add_connection("/left/image_raw", "sensor_msgs/msg/Image", typestore=types)
        for k in range(4):
            message = image_of(types, Frame(np.full((6, 8), 20 * k, np.uint8), "mono8", k, "left"))
            writer.write(connection, 10**9 + k, types.serialize_cdr(message, "sensor_msgs/msg/Image"))
    return path


@given(data=st.data())
def test_bags_of_sqlite(sqlite: Path, data: st.DataObject) -> None:
    [file] = sqlite.glob("*.db3")
    spoil_and_read(sqlite, data.draw(st.sampled_from([file, sqlite / "metadata.yaml"])), data)


@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 5)
def test_bags_that_are_compressed(mcap: Path, sqlite: Path, folder: Path, data: st.DataObject) -> None:
    zstandard = pytest.importorskip("zstandard")
    for source in (mcap, sqlite):
        [file] = (f for f in source.iterdir() if f.suffix != ".yaml")
        packed = folder / f"{file.name}.zstd"
        packed.write_bytes(zstandard.compress(file.read_bytes()))
        packed.write_bytes(data.draw(damaged(packed.read_bytes())))
        read(packed)


@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 5)
def test_bags_of_compressed_chunks(mcap: Path, folder: Path, data: st.DataObject) -> None:
    from mcap.writer import CompressionType, Writer

    from derain_ros.replay.bag import BagReader

    path = folder / "chunks.mcap"
    with path.open("wb") as file, BagReader(mcap) as source:
        form = data.draw(st.sampled_from((CompressionType.ZSTD, CompressionType.LZ4)))
        writer = Writer(file, chunk_size=100, compression=form)
        writer.start("ros2", "")
        channels = {
            topic.name: writer.register_channel(
                topic.name, "cdr", writer.register_schema(topic.msgtype, topic.encoding, topic.definition.encode())
            )
            for topic in source.topics.values()
        }
        for message in source.messages():
            writer.add_message(channels[message.topic], message.stamp_ns, message.data, message.stamp_ns)
        writer.finish()
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read(path)


def spoil_and_read(path: Path, file: Path, data: st.DataObject) -> None:
    """Read a bag one of whose files is damaged, and mend it."""
    valid = file.read_bytes()
    file.write_bytes(data.draw(damaged(valid)))
    try:
        read(path)
        if file.suffix != ".yaml":
            read(file)
    finally:
        file.write_bytes(valid)


@given(data=st.data())
def test_records(folder: Path, data: st.DataObject) -> None:
    from derain_ros.replay.account import Account, Output
    from derain_ros.replay.record import Record
    from derain_ros.replay.records import ReplayError
    from derain_ros.report.limits import figures_of
    from derain_ros.report.tables import origin_table, tables_of

    path = folder / "record.json"
    outputs = [Output("left", k, "restored", True, 0.9, 30.0) for k in range(2)]
    Record("Rain", "Latency", Account(Counter(left=3), outputs), []).save(path)
    content = json.loads(path.read_text())
    where: Any = content
    if data.draw(st.booleans()):
        where = content["outputs"][0]
    key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
    where[key] = data.draw(VALUES)
    path.write_text(json.dumps(content))
    try:
        record = Record.read(path)
    except ReplayError as error:
        assert "record.json" in str(error)
        return
    tables_of(record)
    origin_table(record)
    figures_of(record)


@given(data=st.data())
def test_recipes(folder: Path, data: st.DataObject) -> None:
    pytest.importorskip("torch")
    from derain_ros.cli.recipes import read_phases
    from derain_ros.train.recipe import RECIPES, RestoreRecipe

    path = folder / "recipe.yaml"
    path.write_bytes(data.draw(damaged((RECIPES / "balanced.yaml").read_bytes())))
    try:
        read_phases(path, RestoreRecipe)
    except (typer.BadParameter, ValueError) as error:
        assert str(error)


@given(st.lists(st.text(max_size=30), max_size=2))
def test_limits(texts: list[str]) -> None:
    from derain_ros.report.limits import LimitError, limits_of

    try:
        limits_of(texts)
    except LimitError as error:
        assert str(error)
