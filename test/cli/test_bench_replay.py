"""`derain bench replay` on a short bag: the real node in another process, over real DDS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_models
from typer.testing import CliRunner

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")
sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))

from live import derain  # noqa: E402

from derain_ros.cli.main import app  # noqa: E402
from derain_ros.frame import Frame  # noqa: E402
from derain_ros.replay.bag import BagWriter  # noqa: E402
from derain_ros.replay.images import image_of  # noqa: E402
from derain_ros.replay.record import Record  # noqa: E402
from derain_ros.replay.shown import AGAIN, MASK, SEEN  # noqa: E402

FRAMES = 20
EPOCH_NS = 1_700_000_000_000_000_000


def write_bag(path: Path, level: int) -> Path:
    """Two seconds of two cameras at 10 Hz, recorded 4 ms after each stamp; the tiny detector takes 150 for wet."""
    with BagWriter(path) as writer:
        for k in range(FRAMES):
            for camera in ("left", "right"):
                image = np.random.default_rng(k).integers(level - 20, level + 20, (48, 64)).astype(np.uint8)
                stamp_ns = EPOCH_NS + k * 10**8
                message = image_of(writer.types, Frame(image, "mono8", stamp_ns, camera))
                writer.put(f"/{camera}/image_raw", stamp_ns + 4_000_000, message)
    return path


def test_every_frame_is_accounted_for_and_limits_are_held(tmp_path: Path) -> None:
    bag, models, output = write_bag(tmp_path / "rainy", 150), write_models(tmp_path / "models"), tmp_path / "today"
    arguments = ("bench", "replay", bag, "--models", models, "--output", output)
    code, out, err = derain(*arguments, "--fail-if", "frames_in != 40", "--fail-if", "flagged_share <= 0")
    assert code == 0, out + err
    record = Record.read(Path(f"{output}.json"))
    account, total = record.account, record.account.total()
    assert total["in"] == 2 * FRAMES == total["restored"] + total["passed on"] + total["dropped"]
    assert account.causes.total() == total["dropped"] and not total["broken"]
    restored = [o for o in account.outputs if o.action == "restored"]
    assert restored, out
    for o in restored:
        assert o.detect_ms > 0 and o.restore_ms > 0 and o.detect_ms + o.restore_ms <= o.total_ms + 0.02
        assert o.total_ms < o.latency_ms and o.age_ms == pytest.approx(o.latency_ms + 4.0) and o.plan == "balanced"
    assert {o.alarm for o in account.outputs} & {"affected", "severe"}
    assert account.recorded_s == pytest.approx(0.1 * (FRAMES - 1), abs=1e-3)
    assert account.played_s >= account.recorded_s
    assert record.usage[-1].seconds >= account.played_s and max(u.memory_mb for u in record.usage) > 50
    assert max(u.cores for u in record.usage) > 0 and not record.rates
    assert list(record.origin.bag) == ["rainy.mcap"] and set(record.origin.models) > {"detect", "restore_mono"}
    assert record.origin.config["cameras"] == ["left", "right"]
    page = Path(f"{output}.html").read_text()
    assert all(words in out and words in page for words in ("Stages", "Use of the machine by the node"))
    assert "Measured with" in page and "rainy.mcap" in page
    shown = {(picture.camera, picture.stamp_ns) for picture in record.pictures}
    assert shown and shown <= {(o.camera, o.stamp_ns) for o in restored}
    assert all(list(picture.images) == [SEEN, AGAIN, MASK] for picture in record.pictures)
    code, out, err = derain("report", f"{output}.json", "--fail-if", "frames_in > 39", "--fail-if", "p50_ms <= 0")
    assert code == 1 and err.strip() == "derain: broken limit frames_in > 39: it is 40", err
    compared = derain("bench", "compare", f"{output}.json", f"{output}.json", "--fail-if-worse")
    assert compared[0] == 0 and f"{len(account.outputs)} frames are paired by stamp" in compared[1], compared
    assert "faster" not in compared[1] and "slower" not in compared[1]


def test_a_dry_bag_raises_no_alarm_and_the_highest_speed_is_found(tmp_path: Path) -> None:
    bag, models, output = write_bag(tmp_path / "sunny", 60), write_models(tmp_path / "models"), tmp_path / "today"
    arguments = ("bench", "replay", bag, "--models", models, "--output", output, "--highest")
    limits = ("--fail-if", "alarm_share > 0", "--fail-if", "restored > 0")
    # Each speed gets a node of its own, so that few are tried.
    code, out, err = derain(*arguments, *limits, first="from derain_ros.bench import replay; replay.FASTEST = 2.0")
    # How much comes, and when, depends on the machine; without a frame there is no share of alarms.
    assert code == 0, out + err
    record = Record.read(Path(f"{output}.json"))
    assert record.rates[0].rate == 1.0 and len(record.rates) > 1 and "Speeds" in out
    assert all(r.frames_in == 2 * FRAMES for r in record.rates)
    assert {o.action for o in record.account.outputs} & {"passed_clean"}


@pytest.mark.parametrize(
    ("limit", "told"),
    [("p99 > 50", "p99: there is no such figure; there are frames_in"), ("fast", "'fast' is not a limit; write NAME")],
)
@pytest.mark.parametrize("command", [["bench", "replay"], ["report"]])
def test_a_wrong_limit_is_a_wrong_call_before_any_work(
    tmp_path: Path, command: list[str], limit: str, told: str
) -> None:
    result = CliRunner().invoke(app, [*command, str(tmp_path / "none"), "--fail-if", limit])
    assert result.exit_code == 2 and told in result.output, result.output


def test_a_record_of_another_version_is_refused_and_how_to_mend_it_is_told(tmp_path: Path) -> None:
    old, bench = tmp_path / "old.json", tmp_path / "bench.json"
    old.write_text(json.dumps({"format": 2, "kind": "replay", "title": "a"}))
    bench.write_text(json.dumps({"format": 1, "cases": []}))
    for arguments in (["report", str(old), "--fail-if", "p99_ms > 50"], ["bench", "compare", str(old), str(old)]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1 and "in format 2, not of `derain replay` in format 4" in result.output
    result = CliRunner().invoke(app, ["bench", "compare", str(old), str(bench)])
    assert result.exit_code == 1 and "only one is the record of a replay" in result.output


def test_a_comparison_gates_what_got_worse(tmp_path: Path) -> None:
    from collections import Counter

    from derain_ros.replay.account import Account, Output

    for name, ms in (("before", 20.0), ("after", 30.0)):
        outputs = [Output("left", k, "restored", True, 0.9, ms + k % 3) for k in range(400)]
        Record("a", "Latency", Account(Counter(left=400), outputs), []).save(tmp_path / f"{name}.json")
    before, after = (str(tmp_path / f"{name}.json") for name in ("before", "after"))
    result = CliRunner().invoke(app, ["bench", "compare", before, after, "--fail-if-worse"])
    assert result.exit_code == 1 and "worse: latency p50 ms: slower" in result.output
    assert CliRunner().invoke(app, ["bench", "compare", before, after]).exit_code == 0
    assert CliRunner().invoke(app, ["bench", "compare", after, before, "--fail-if-worse"]).exit_code == 0
