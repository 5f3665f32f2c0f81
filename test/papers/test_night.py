"""The table of paper 3: its rows beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pictures import write_triplets

pytest.importorskip("torch", reason="the tables need the extra `train`")

from derain_ros.data.night import Triplet, triplets  # noqa: E402
from derain_ros.papers.night import COLUMNS, PRINTED, Cleaned, markdown, tables  # noqa: E402


def test_the_table_has_the_papers_rows_beside_ours(tmp_path: Path) -> None:
    found = [path.read() for path in triplets(write_triplets(tmp_path), "test")]

    def methods(triplet: Triplet) -> Cleaned:
        return {"rainy, average": (triplet.wet, triplet.infrared), "perfect, both": (triplet.clean, triplet.infrared)}

    first, second = tables(found, methods)
    text = markdown(first, second, len(found))
    assert all(name in text for name in PRINTED) and all(len(row) == len(COLUMNS) for row in PRINTED.values())
    perfect = next(line for line in first if "perfect" in line)
    assert "1.000" in perfect and len(second) == 2 + len(PRINTED) + 2
    assert all(line.count("|") == len(COLUMNS) + 2 for line in second)
