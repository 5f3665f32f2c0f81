"""A study of ORB-SLAM3 as a table, in Markdown and as a page; and its record, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from derain_ros.evaluate.slam.study import Study, StudyRow
from derain_ros.evaluate.slam.trajectory import TrajectoryFigures
from derain_ros.replay.origin import Origin
from derain_ros.replay.records import ReplayError
from derain_ros.report.slam import markdown, notes, table, write

NAN = float("nan")
RUNS = [TrajectoryFigures(1.0, 0.9, 0.1, 0.02, 200.0), TrajectoryFigures(1.0, 0.7, 0.3, 0.04, 210.0)]
LOST = [TrajectoryFigures(0.0, 0.0, NAN, NAN, 0.0, True)] * 2


@pytest.fixture
def study() -> Study:
    rows = [
        StudyRow("", 0.0, 0.0, "dry", [RUNS[0]] * 2),
        StudyRow("raindrop heavy", 0.2, 0.31, "wet", LOST),
        StudyRow("raindrop heavy", 0.2, 0.31, "light, masked", RUNS),
    ]
    way = [[0.0, 0.0, float(n)] for n in range(5)]
    return Study("drive", 50, 2, rows, {-1: way, 0: way, 1: [], 2: way}, origin=Origin(models={"a": "0"}))


def test_means_with_the_range_of_the_runs(study: Study) -> None:
    rows = table(study).rows
    assert rows[0] == ["", "", "dry", "100", "90", "0.10", "2.0", "200"]
    assert rows[1] == ["raindrop heavy 0.2", "31%", "wet", "0", "0", "-", "-", "0"]
    assert rows[2][3:] == ["100", "80 (70 to 90)", "0.20 (0.10 to 0.30)", "3.0 (2.0 to 4.0)", "205 (200 to 210)"]
    assert "2 runs ended before their time" in " ".join(notes(study))
    assert "| raindrop heavy 0.2 | 31% | light, masked | 100 | 80 (70 to 90) |" in markdown(study)
    assert "truth is not known" in " ".join(notes(Study("bag", 3, 1, study.rows)))


def test_the_page_stands_alone(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "slam.html", study)
    page = (tmp_path / "slam.html").read_text()
    assert "<td>80 (70 to 90)" in page and "data:image/png;base64," in page and "http" not in page
    write(tmp_path / "none.html", Study("bag", 3, 1, [StudyRow("", 0.0, 0.0, "wet", LOST)], {0: []}))


def test_a_record_is_read_as_it_was_written(study: Study, tmp_path: Path) -> None:
    study.save(tmp_path / "slam.json")
    assert repr(Study.read(tmp_path / "slam.json")) == repr(study)
    told = json.loads((tmp_path / "slam.json").read_text(), parse_constant=pytest.fail)
    assert (told["format"], told["kind"]) == (1, "slam") and "processor" in told["machine"]
    odd = tmp_path / "odd.json"
    for content, why in (
        ({"rows": 3}, r"odd.json: is not a record of `derain evaluate slam`"),
        ({**told, "kind": "replay"}, "odd.json: is a record of 'replay' in format 1, not of `derain evaluate slam`"),
        (
            {**told, "format": 2},
            "in format 2, not of `derain evaluate slam` in format 1: run",
        ),
        ({**told, "frames": "many"}, "frames: 'many' is not of type int"),
    ):
        odd.write_text(json.dumps(content))
        with pytest.raises(ReplayError, match=why) as error:
            Study.read(odd)
        assert str(error.value).count("odd.json") == 1
    with pytest.raises(ReplayError, match="none.json: cannot be read"):
        Study.read(tmp_path / "none.json")
