"""Tables and the report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from derain_ros.replay import report
from derain_ros.replay.account import Account, Output
from derain_ros.replay.quality import Quality, Sample

SECOND = 10**9
WET = {"left": {k * SECOND: k >= 2 for k in range(4)}, "right": {k * SECOND: False for k in range(4)}}


def account() -> Account:
    outputs = [Output(camera, k * SECOND, "restored" if k == 3 else "passed_clean", k == 3 and camera == "left",
                      0.5, 10.0 * k) for k in range(4) for camera in ("left", "right")]
    return Account(Counter(left=5, right=4), outputs, notes=["<odd> note"])


def test_tables() -> None:
    books = account()
    assert report.frames_table(books).rows == [["left", "5", "4", "1", "1", "3", "0"],
                                               ["right", "4", "4", "0", "1", "3", "0"],
                                               ["all", "9", "8", "1", "2", "6", "0"]]
    assert report.actions_table(books).rows == [["passed clean", "6"], ["restored", "2"]]
    assert report.latency_table(books, "t").rows[1] == ["restored", "30.0", "30.0", "30.0"]
    assert report.plans_table({("light", "a"): 3, ("balanced", "b"): 40}, "a on cpu, b on cpu").rows == [
        ["balanced", "b", "40"], ["light", "a", "3"], ["engines", "a on cpu, b on cpu", ""]]
    assert report.plans_table({}, "").rows == [["engines", "-", ""]]
    assert report.decisions_table(books, WET).rows == [
        ["left", "2", "1 (50.0 %)", "2", "0 (0.0 %)", "1.00 s"], ["right", "0", "-", "4", "0 (0.0 %)", "-"]]
    quality = Quality(psnr=[(20.0, 25.0), (22.0, 23.0)], clean=4, untouched=3)
    assert report.quality_table(quality).rows[0][1:] == ["21.00 dB", "24.00 dB", "+3.00 dB"]
    assert report.quality_table(quality).rows[1][1:] == ["4", "3", "3 (75.0 %)"]
    assert report.quality_table(Quality()).rows[0][1:] == ["-", "-", "-"]


def test_the_report_is_whole_in_itself(tmp_path: Path) -> None:
    image = np.full((24, 32), 90, np.uint8)
    books, quality = account(), Quality([(20.0, 25.0)], 1, 1, [Sample("left", 0, image, image, image, image)])
    tables = [report.frames_table(books), report.quality_table(quality)]
    report.write(tmp_path / "a report.html", "Rain & drops", tables, books, quality, WET)
    text = (tmp_path / "a report.html").read_text()
    sources = re.findall(r"src='([^']{5})", text)
    assert len(sources) == 5 and set(sources) == {"data:"}
    assert "http" not in text.lower().replace("data:", "")[:2000]
    assert "Rain &amp; drops" in text and "&lt;odd&gt; note" in text and "25.00 dB" in text


def test_a_report_of_nothing(tmp_path: Path) -> None:
    books = Account(Counter(left=3))
    report.write(tmp_path / "r.html", "t", [report.latency_table(books, "t"), report.decisions_table(books, WET)],
                 books, Quality(), WET)
    assert "image/png" in (tmp_path / "r.html").read_text()
