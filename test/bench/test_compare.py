"""Two replays compared: what noise is, and what is none."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("rosbags")

from derain_ros.bench import BenchError  # noqa: E402
from derain_ros.bench.compare import compare, difference, differing, is_replay  # noqa: E402
from derain_ros.cli.main import app  # noqa: E402
from derain_ros.replay.account import Account, Output  # noqa: E402
from derain_ros.replay.origin import Origin  # noqa: E402
from derain_ros.replay.record import Record  # noqa: E402

FRAMES = 400


def noise(seed: int, number: int = FRAMES) -> np.ndarray:
    """Latencies (N,) about 20 ms; what disturbs one frame disturbs the next ones, and some take long."""
    rng = np.random.default_rng(seed)
    shared = np.convolve(rng.normal(size=number + 9), np.ones(10) / 10, "valid")
    return 20 + 2 * shared + rng.exponential(1.0, number)


def median(drawn: np.ndarray) -> np.ndarray:
    return np.median(drawn, axis=-1)


@pytest.mark.parametrize("paired", [True, False])
def test_noise_alone_is_mostly_no_difference_and_a_shift_is_one(paired: bool) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(10):
        before, after = noise(2 * seed), noise(2 * seed + 1)
        verdicts[difference([before], [after], median, paired).verdict("faster", "slower")] += 1
        assert difference([before], [after + 3], median, paired).verdict("faster", "slower") == "slower"
        assert difference([before], [after - 3], median, paired).verdict("faster", "slower") == "faster"
    # The interval is of 95 %, and what disturbs several frames widens it by less than it should.
    assert verdicts["unclear"] >= 8


def test_pairing_takes_out_what_is_common_to_both() -> None:
    frames = np.random.default_rng(1).uniform(10, 60, FRAMES)
    after = frames - 1 + np.random.default_rng(2).normal(0, 0.1, FRAMES)
    assert difference([frames], [after], median, True).verdict("faster", "slower") == "faster"
    assert difference([frames], [after], median, False).verdict("faster", "slower") == "unclear"


@pytest.mark.parametrize("number", [2, 3, 5])
def test_of_several_runs_the_interval_is_right_as_often_as_it_says(number: int) -> None:
    rng = np.random.default_rng(number)
    trials, wrong, seen = 400, 0, 0
    for _ in range(trials):
        # Whole runs are faster and slower, by more than neighbouring frames tell.
        before, after = ([rng.normal(20 + shift, 1.0, 50) for shift in rng.normal(0, 2, number)] for _ in range(2))
        wrong += difference(before, after, median, True).verdict("faster", "slower") != "unclear"
        seen += difference(before, [run + 60 for run in after], median, True).verdict("faster", "slower") == "slower"
    assert wrong < 0.08 * trials and seen > 0.9 * trials


def test_of_single_runs_the_interval_does_not_know_how_runs_differ() -> None:
    verdicts = Counter(
        difference([noise(k)], [noise(k + 50) + 3 * (-1) ** k], median, True).verdict("faster", "slower")
        for k in range(6)
    )
    assert verdicts["unclear"] < 3


def test_of_nothing_nothing_can_be_told() -> None:
    found = difference([np.empty(0)], [np.ones(3)], median, False)
    assert math.isnan(found.before) and found.verdict("faster", "slower") == "unclear"


def record(ms: np.ndarray, sent: int, restored: int, origin: Origin, first: int = 0, **machine: object) -> Record:
    """A record of frames from the stamp `first` on, as many as there are latencies, some of them restored."""
    outputs = [
        Output(
            "left",
            first + k,
            "restored" if k < restored else "passed_clean",
            k < restored,
            0.5,
            float(each),
            detect_ms=2.0,
            restore_ms=float(each) / 2,
            total_ms=float(each) - 1,
        )
        for k, each in enumerate(ms)
    ]
    return Record("a", "Latency", Account(Counter(left=sent), outputs), [], machine=machine, origin=origin)


def row(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_frames_of_one_bag_are_paired_by_stamp() -> None:
    bag = {"drive.mcap": "a" * 64}
    before = record(noise(1), 400, 400, Origin(bag, {"detect": "1"}, {"engine": "auto"}), cores=2, load_average=1.0)
    after = record(
        noise(2, 395) + 10, 400, 200, Origin({"renamed.mcap": "a" * 64}, {"detect": "2"}, {"engine": "openvino"}), 5,
        cores=4, load_average=2.0,
    )  # fmt: skip
    text, worse = compare([before], [after])
    assert "Both sides are of one bag, by its digests; 395 frames are paired by stamp." in text
    assert row(text, "latency p50 ms")[-1] == "slower" and row(text, "latency p99 ms")[-1] == "slower"
    assert {"latency p50 ms: slower", "restored share: less restored"} <= set(worse)
    assert row(text, "detect p50 ms") == ["2.00", "2.00", "+0.00", "+0.00 to +0.00", "unclear"]
    assert row(text, "restore p99 ms")[-1] == "unclear: too few frames", "200 frames were restored in both"
    assert row(text, "restored share")[:3] + row(text, "restored share")[-1:] == [
        "1.0000",
        "0.5000",
        "-0.5000",
        "less restored",
    ]
    assert row(text, "dropped share")[:3] == ["0.0000", "0.0125", "+0.0125"]
    assert row(text, "dropped")[:3] == ["0.000", "5.000", "+5.000"]
    for told in (
        "machine, cores: 2 before, 4 after",
        "model, detect: 1 before, 2 after",
        "auto before, openvino after",
    ):
        assert told in text
    assert "load_average" not in text and "had other work" not in text
    busy = record(noise(2), 400, 400, Origin(bag), cores=4, load_average=5.5)
    assert "other work: load after 5.5 on 4 cores." in compare([before], [busy])[0]


def test_frames_of_different_bags_are_not_paired() -> None:
    before = record(noise(1), 400, 400, Origin({"a.mcap": "a" * 64}))
    after = record(noise(2), 420, 400, Origin({"a.mcap": "b" * 64}))
    text, worse = compare([before], [after])
    assert "The bags differ or are unknown, so frames are not paired." in text
    assert not [name for name in worse if name.startswith("detect")]
    assert row(text, "dropped share")[1] == "0.0476" and "Machine, models and settings are the same." in text
    assert differing(before, before) == []


def test_runs_of_each_side_are_taken_together() -> None:
    origin = Origin({"a.mcap": "a" * 64})
    before = [record(noise(k), 400, 400, origin) for k in range(3)]
    after = [record(noise(k + 9, 390) + 10, 400, 300, origin, first=10) for k in range(3)]
    text, worse = compare(before, after)
    assert "390 frames are paired by stamp" in text and "3 runs before and 3 after; the intervals include" in text
    assert row(text, "latency p50 ms")[-1] == "slower" and row(text, "restored share")[1] == "0.7500"
    assert "do not include differences between runs" in compare(before, after[:1])[0]


def test_latencies_of_another_kind_are_refused() -> None:
    live, offline = (Record("a", timed, Account(Counter(left=1)), []) for timed in ("Latency", "Time of the pipeline"))
    with pytest.raises(BenchError, match="not comparable, they are: Latency; Time of the pipeline"):
        compare([live], [offline])


def test_a_pattern_without_a_file_is_told() -> None:
    told = CliRunner().invoke(app, ["bench", "compare", "/nowhere/main*.json", "/nowhere/branch*.json"])
    assert told.exit_code == 1 and "main*.json: no file matches" in told.output


def test_of_empty_records_nothing_can_be_told() -> None:
    empty = Record("a", "Latency", Account(Counter(left=0)), [], origin=Origin({"a": "a"}))
    text, worse = compare([empty], [empty])
    assert not worse
    assert row(text, "latency p50 ms") == ["nan", "nan", "+nan", "", "unclear"]
    assert "no frame is in the output of all" in text


def test_which_kind_a_file_is(tmp_path: Path) -> None:
    record(noise(1), 400, 400, Origin()).save(tmp_path / "replay.json")
    assert is_replay(tmp_path / "replay.json")
    (tmp_path / "bench.json").write_text('{"format": 1, "cases": []}')
    assert not is_replay(tmp_path / "bench.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BenchError, match="is not a result of `derain bench`"):
        is_replay(tmp_path / "broken.json")
    with pytest.raises(BenchError, match="cannot be read"):
        is_replay(tmp_path / "none.json")
