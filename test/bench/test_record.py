from __future__ import annotations

from pathlib import Path

import pytest

from derain_ros.bench import BenchError
from derain_ros.bench.record import EngineRecord, compare, markdown, plot
from derain_ros.bench.speed import Case
from derain_ros.engine.machine import this_machine


def case(model: str, *ms: float, **more: object) -> Case:
    return Case(model, "openvino", "cpu", "int8", 2, (2, 540, 720), 1.5, 40.0, float("nan"), ms=list(ms), **more)  # type: ignore[arg-type]


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    record = EngineRecord([case("fast", 1.0, 2.0, joules={"gpu": 0.5})], this_machine(2), ["tensorrt: no device"])
    record.save(tmp_path / "a.json")
    back = EngineRecord.read(tmp_path / "a.json")
    assert back.cases[0].shape == (2, 540, 720) and back.cases[0].ms == [1.0, 2.0]
    assert back.machine == record.machine and back.failures == record.failures
    assert markdown(back) == markdown(record)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "cases": [{"a": 1}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BenchError, match=r"a\.json: is"):
        EngineRecord.read(tmp_path / "a.json")
    with pytest.raises(BenchError, match="cannot be read"):
        EngineRecord.read(tmp_path / "gone.json")


def test_the_table_shows_median_spread_and_what_is_known() -> None:
    known = case("fast", *range(1, 12), gmac=30.0, joules={"processor": 0.25})
    text = markdown(EngineRecord([known], {"cores": 2}, ["x: y"]))
    row = next(line for line in text.splitlines() if line.startswith("| fast"))
    # 2 operations x 30 G x 2 images in 6 ms.
    assert row == "| fast | 2x540x720 | openvino | int8 | 2 | 6.00 | 2.00 to 10.00 | 1.5 | 40 |  | 20000 | 0.250 |"
    assert "| 20000 | 20.0% | 0.250 |" in markdown(EngineRecord([known]), peak_tops=100.0)
    assert "cores 2" in text and "- not measured: x: y" in text
    assert "GOP/s" not in markdown(EngineRecord([case("fast", 1.0)]))


def test_only_differences_beyond_the_spread_count() -> None:
    before = EngineRecord(
        [case("same", 10, 11, 12), case("slow", 10, 11, 12), case("quick", 10, 11, 12), case("old", 1)],
        {"cores": 2, "load_average": 1},
    )
    after = EngineRecord(
        [case("same", 11, 12, 13), case("slow", 20, 22, 24), case("quick", 5, 5.5, 6), case("new", 1)],
        {"cores": 4, "load_average": 2},
    )
    lines = {line.split()[1]: line for line in compare(before, after).splitlines() if line.startswith("| ")}
    assert "| 1.09 | within the spread |" in lines["same"]
    assert "| 11.00 | 22.00 | 2.00 | slower |" in lines["slow"]
    assert "| 0.50 | faster |" in lines["quick"]
    text = compare(before, after)
    assert "- only in one result: new" in text and "- only in one result: old" in text
    assert text.endswith("The machines differ in cores.")
    with pytest.raises(BenchError, match="have no case in common"):
        compare(EngineRecord([case("old", 1)]), EngineRecord([case("new", 1)]))


def test_the_plot_names_every_case(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(EngineRecord([case("fast", 1, 2, 3), case("balanced", 4, 5, 6)]), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 1000
