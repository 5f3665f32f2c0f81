"""Tables and the page of a replay, and of its record read again."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from derain_ros.cli.main import app
from derain_ros.replay.account import Account, Output
from derain_ros.replay.measured import AtRate, Usage
from derain_ros.replay.origin import Origin
from derain_ros.replay.quality import Quality
from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError
from derain_ros.replay.shown import picture
from derain_ros.report import page, tables

SECOND = 10**9
WET = {"left": {k * SECOND: k >= 2 for k in range(4)}, "right": {k * SECOND: False for k in range(4)}}
IMAGE = np.full((24, 32), 90, np.uint8)
NAN = float("nan")
LIVE = {
    "account": Account(
        Counter(left=3),
        [
            Output("left", k, "restored", True, 0.9, 30.0 + k, 34.0, "affected", "light", 2.0, 9.0, NAN, 12.0)
            for k in (1, 2)
        ],
        causes=Counter({"lost on the way back": 1}),
        recorded_s=2.0,
        played_s=2.5,
    ),
    "origin": Origin({"rainy.mcap": "ab" * 32}, {"light": "cd" * 32}, {"budget_ms": 70.0, "engine": "auto"}),
    "usage": [Usage(0.5, 1.25, 300.0, NAN), Usage(1.0, 0.75, 310.0, NAN)],
    "rates": [AtRate(1.0, 20.0, 1.0, 3, 0, 0, 30.0, 31.0, True), AtRate(2.0, 40.0, 1.5, 3, 1, 1, NAN, NAN, False)],
}
"""Of a record of `derain bench replay`."""


def account() -> Account:
    outputs = [
        Output(
            camera,
            k * SECOND,
            "restored" if k == 3 else "passed_clean",
            k == 3 and camera == "left",
            0.5,
            10.0 * k if k else float("nan"),
        )
        for k in range(4)
        for camera in ("left", "right")
    ]
    return Account(
        Counter(left=5, right=4),
        outputs,
        Counter(left=1),
        "cut off",
        ["<odd> note"],
        Counter({("light", "a"): 3, ("balanced", "b"): 40}),
        "a on cpu, b on cpu",
    )


def record(**changes: object) -> Record:
    pictures = [picture("left", 3 * SECOND, {"seen": IMAGE, "published": IMAGE}, IMAGE)]
    return Record(
        **{
            "title": "Rain & drops",
            "timed": "Latency",
            "account": account(),  # type: ignore[arg-type]
            "pictures": pictures,
            **changes,
        }
    )


def test_tables() -> None:
    books = account()
    assert tables.frames_table(books).rows == [
        ["left", "5", "4", "0", "1", "3", "1"],
        ["right", "4", "4", "0", "1", "3", "0"],
        ["all", "9", "8", "0", "2", "6", "1"],
    ]
    assert tables.actions_table(books).rows == [["passed clean", "6"], ["restored", "2"]]
    assert tables.latency_table(books, "t").rows[1] == ["restored", "30.0", "30.0", "30.0"]
    assert tables.plans_table(books).rows == [
        ["balanced", "b", "40"],
        ["light", "a", "3"],
        ["engines", "a on cpu, b on cpu", ""],
    ]
    assert tables.plans_table(Account()).rows == [["engines", "-", ""]]
    assert tables.decisions_table(books, WET).rows == [
        ["left", "2", "1 (50.0 %)", "2", "0 (0.0 %)", "1.00 s"],
        ["right", "0", "-", "4", "0 (0.0 %)", "-"],
    ]
    quality = Quality(psnr=[(20.0, 25.0), (22.0, 23.0)], clean=4, untouched=3)
    assert tables.quality_table(quality).rows[0][1:] == ["21.00 dB", "24.00 dB", "+3.00 dB"]
    assert tables.quality_table(quality).rows[1][1:] == ["4", "3", "3 (75.0 %)"]
    assert tables.quality_table(Quality()).rows[0][1:] == ["-", "-", "-"]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page.write(tmp_path / "a report.html", record(wet=WET, quality=Quality([(20.0, 25.0)], 1, 1)))
    text = (tmp_path / "a report.html").read_text()
    sources = re.findall(r"src='([^']{5})", text)
    assert len(sources) == 5 and set(sources) == {"data:"}
    assert "http" not in text.lower().replace("data:", "")[:2000]
    assert "Rain &amp; drops" in text and "&lt;odd&gt; note" in text and "25.00 dB" in text and "cut off" in text


def test_without_the_truth_there_is_nothing_of_it(tmp_path: Path) -> None:
    page.write(tmp_path / "r.html", record())
    text = (tmp_path / "r.html").read_text()
    assert "against the truth" not in text and "Pictures</caption>" not in text and "Before and after" in text


def test_what_a_benchmark_measured_is_shown(tmp_path: Path) -> None:
    shown = {table.title: table.rows for table in tables.tables_of(record(**LIVE))}
    assert shown["Dropped"] == [["lost on the way back", "1"]]
    assert shown["Stages"] == [
        ["detect", "2.0", "2.0", "2.0"],
        ["restore", "9.0", "9.0", "9.0"],
        ["transport and waiting: the rest of the latency", "19.5", "19.9", "20.0"],
        ["age when published: since the stamp", "34.0", "34.0", "34.0"],
        ["jitter: change of the latency from frame to frame", "1.0", "1.0", "1.0"],
    ]
    assert shown["Use of the machine by the node"] == [
        ["cores of the processor", "1.00", "1.25"],
        ["memory, MB", "305", "310"],
        ["memory of the GPU, MB, by anyone", "-", "-"],
    ]
    assert shown["Speeds"][1] == ["2x", "40.0", "1.5x", "3", "1", "1", "-", "-", "no"]
    measured = tables.origin_table(record(**LIVE)).rows
    assert measured[:3] == [
        ["bag", "rainy.mcap", "ab" * 6],
        ["model", "light", "cd" * 6],
        ["setting", "budget_ms", "70.0"],
    ]
    assert "engine" not in {name for _, name, _ in measured} and "processor" in {name for _, name, _ in measured}
    page.write(tmp_path / "r.html", record(**LIVE))
    assert "lost on the way back" in (tmp_path / "r.html").read_text()


def test_a_page_of_nothing(tmp_path: Path) -> None:
    page.write(tmp_path / "r.html", record(account=Account(Counter(left=3)), pictures=[], wet=WET, quality=Quality()))
    text = (tmp_path / "r.html").read_text()
    assert "image/png" in text and "Before and after" not in text


@pytest.mark.parametrize("changes", [{}, {"wet": WET, "quality": Quality([(20.0, float("inf"))], 4, 3)}, LIVE])
def test_a_record_is_read_as_it_was_saved(tmp_path: Path, changes: dict[str, object]) -> None:
    saved = record(**changes)
    saved.save(tmp_path / "record.json")
    read = Record.read(tmp_path / "record.json")
    assert repr(read) == repr(saved)
    page.write(tmp_path / "1.html", saved)
    page.write(tmp_path / "2.html", read)
    assert (tmp_path / "1.html").read_text() == (tmp_path / "2.html").read_text()


def test_a_record_is_never_written_over(tmp_path: Path) -> None:
    record().save(tmp_path / "rainy.json")
    told = CliRunner().invoke(app, ["report", str(tmp_path / "rainy.json"), "--output", str(tmp_path / "rainy.json")])
    assert told.exit_code == 2 and "is the record itself" in told.output
    assert CliRunner().invoke(app, ["report", str(tmp_path / "rainy.json")]).exit_code == 0
    assert (tmp_path / "rainy.html").exists() and Record.read(tmp_path / "rainy.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a record of `derain replay`"),
        ("[]", "is not a record"),
        ("[" * 200_000, "is not a record of `derain replay` .is not valid JSON"),
        ('{"kind": "replay"}', "is not a record"),
        ('{"kind": "bench", "format": 1}', "is a record of 'bench' in format 1"),
        ('{"kind": "replay", "format": 99}', "in format 99, not of `derain replay` in format 4: run"),
    ],
)
def test_what_is_no_record_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(ReplayError, match=message):
        Record.read(tmp_path / "record.json")
    with pytest.raises(ReplayError, match="cannot be read"):
        Record.read(tmp_path / "none.json")


def test_the_command_renders_a_record_again(tmp_path: Path) -> None:
    record().save(tmp_path / "record.json")
    result = CliRunner().invoke(app, ["report", str(tmp_path / "record.json")])
    assert result.exit_code == 0 and "Rain &amp; drops" in (tmp_path / "report.html").read_text()
    result = CliRunner().invoke(app, ["report", str(tmp_path / "record.json"), "--output", str(tmp_path / "own.html")])
    assert result.exit_code == 0 and (tmp_path / "own.html").read_text() == (tmp_path / "report.html").read_text()
    result = CliRunner().invoke(app, ["report", str(tmp_path / "none.json")])
    assert result.exit_code == 1 and "none.json: cannot be read" in result.output
