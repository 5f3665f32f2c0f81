"""The tables: cells, what the paper prints, and whether its order holds."""

from __future__ import annotations

from dataclasses import replace

from derain_ros.evaluate.restoration import Score
from derain_ros.papers.speed import Speed
from derain_ros.papers.tables import ABLATION, INITIALISATION, restoration_table, speed_table


def rows_of(table: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert len({len(line) for line in lines}) == 1
    return {line[0]: line[1:] for line in lines[2:]}


def test_speed() -> None:
    ours = Speed("paper 1, G+E+A", 360, 540, 774_947, 13_230_000_000, (10.0, 20.0, 30.0))
    theirs = Speed("DeRaindrop", 360, 540, 6_234_000, 226_700_000_000, (100.0,))
    unknown = Speed("NAFNet, 16 wide", 368, 544, 1_490_000, 4_900_000_000, (5.0,))
    table = speed_table([ours, theirs, unknown], 2)
    assert "2 threads" in table.splitlines()[0] and "all threads" in speed_table([ours], 0)
    rows = rows_of(table)
    assert rows["paper 1, G+E+A"] == [
        "540x360",
        "0.77 M",
        "13.2",
        "20.0",
        "12.0 to 28.0",
        "1.0",
        "6",
        "542",
        "1.0",
        "29.84",
        "0.909",
    ]
    assert rows["DeRaindrop"] == [
        "540x360",
        "6.23 M",
        "226.7",
        "100.0",
        "100.0 to 100.0",
        "5.0",
        "262",
        "4317",
        "8.0",
        "31.50",
        "0.921",
    ]
    assert rows["NAFNet, 16 wide"][5:] == ["0.2", "", "", "", "", ""]


def scores(psnr: float) -> list[Score]:
    return [Score(str(k), 20.0 + k, 0.5, psnr + k, 0.8, 21.0 + k, 0.6, psnr + 1 + k, 0.9) for k in (-1, 1)]


def test_restoration_when_the_order_holds() -> None:
    table = restoration_table({"G": scores(21.0), "G+E": scores(22.0), "G+E+A": scores(23.0)}, ABLATION, "300 steps.")
    assert "Means of 2 held-out images" in table and "300 steps." in table
    assert "The order of the paper's rows by PSNR holds." in table
    assert "- G+E over G: +1.00 dB (+1.00 to +1.00), the paper +2.03." in table
    rows = rows_of(table)
    assert list(rows) == list(ABLATION)
    assert rows["Input"] == [
        "20.00 (19.00 to 21.00)",
        "0.500 (0.500 to 0.500)",
        "21.00 (20.00 to 22.00)",
        "0.600 (0.600 to 0.600)",
        "24.09",
        "0.851",
    ]
    assert rows["G+E+A"][:2] == ["23.00 (22.00 to 24.00)", "0.800 (0.800 to 0.800)"]


def test_restoration_when_the_order_does_not_hold() -> None:
    table = restoration_table(
        {"Random": scores(22.0), "Sharp drops": scores(23.0), "Our drops": scores(24.0)}, INITIALISATION, ""
    )
    assert "Raw < Sharp drops < Random < Our drops, does not hold: Raw < Random < Sharp drops < Our drops" in table
    assert "- Random over Sharp drops: -1.00 dB (-1.00 to -1.00), the paper +0.21." in table


def test_a_step_within_the_noise_is_called_so() -> None:
    better = [replace(s, psnr=s.psnr + (2 if k else -1)) for k, s in enumerate(scores(21.0))]
    table = restoration_table({"G": scores(21.0), "G+E": better, "G+E+A": scores(30.0)}, ABLATION, "")
    assert "- G+E over G: +0.50 dB (-1.00 to +2.00), the paper +2.03; these images cannot tell." in table
