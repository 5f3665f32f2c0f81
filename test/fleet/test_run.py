"""A fleet: the same results by any workers, whatever becomes of them; bad bags do not stop the others."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fleet_bags import START_NS, task_of, write_bag
from waiting import wait_for

from derain_ros.fleet import page
from derain_ros.fleet.run import TRIES, RestoredBags, run
from derain_ros.fleet.segments import plan, restore
from derain_ros.fleet.workers import Workers, cluster

BAGS = {"bad": range(10, 30), "fine": range(0)}


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    found = [write_bag(folder / name, 30, wet) for name, wet in BAGS.items()]
    (folder / "empty").mkdir()
    (folder / "empty" / "empty_0.mcap").touch()
    return [*found, folder / "empty"]


def restored(
    bags: list[Path], output: Path, models: Path, executor: Executor, workers: int, tell: Callable[[str], None] = print
) -> RestoredBags:
    tasks = [task_of(bag, output, models) for bag in bags]
    done = run(tasks, executor, workers, lambda done, total: None, tell)
    page.save(output / "fleet.json", done.bags)
    page.write(output / "fleet.html", done.bags)
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def by_one(bags: list[Path], models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("by one")
    with Workers(1) as workers:
        done = restored(bags, output, models, workers, 1)
    assert done.worked_s > 0 and done.beside_s > 0 and done.recorded_s == pytest.approx(2 * 2.903)
    return output


def test_killed_workers_lose_nothing_and_two_give_what_one_gives(
    bags: list[Path], models: Path, by_one: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def kill() -> None:
        """Kill every worker as soon as a segment is under way."""
        wait_for(lambda: list(tmp_path.glob("*.part/*/bag/*.mcap")), "a segment")
        for process in multiprocessing.active_children():
            process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with Workers(2) as workers:
        restored(bags, tmp_path, models, workers, 2, told.append)
    thread.join()
    assert any("code -9" in text for text in told)
    # Every byte: bags, records and pages.
    assert contents(tmp_path) == contents(by_one)


def test_what_was_restored_before_is_in_no_cost(bags: list[Path], models: Path, tmp_path: Path) -> None:
    restore(plan(task_of(bags[0], tmp_path, models)), 0)
    with ThreadPoolExecutor(1) as executor:
        done = restored(bags[:1], tmp_path, models, executor, 1)
        assert done.recorded_s == pytest.approx(0.903) and done.worked_s > 0
        again = restored(bags[:1], tmp_path, models, executor, 1)
    assert (again.recorded_s, again.worked_s) == (0, 0) and again.beside_s > 0
    assert [bag.recorded_s for bag in again.bags] == pytest.approx([2.903])


def test_the_page_has_the_worst_lens_first_and_the_bags_that_are_bad(by_one: Path) -> None:
    fleet = json.loads((by_one / "fleet.json").read_text())
    assert (fleet["format"], fleet["kind"]) == (1, "fleet")
    assert [lens["robot"] for lens in fleet["lenses"]] == ["bad", "bad", "fine", "fine"]
    worst, *_, best = fleet["lenses"]
    assert (worst["camera"], worst["topic"], worst["bags"]) == ("left", "/left/image_raw", ["bad"])
    assert worst["since_ns"] == START_NS + 12 * 10**8 and worst["until_ns"] is None, "after the hold time"
    assert worst["affected"] == pytest.approx(18 / 30) and best["affected"] == 0 and best["since_ns"] is None
    shown = (by_one / "fleet.html").read_text()
    places = [shown.index(f"<td>{name}<td>left") for name in BAGS]
    assert places == sorted(places)
    assert shown.count("<div class=table><table>") == 2, "on a phone each table is moved by itself"
    assert "2027-01-15 08:00:01" in shown and "<a href='bad/report.html'>bad</a>" in shown
    assert "empty_0.mcap is empty" in shown and (by_one / "bad" / "report.html").exists()


def test_what_fails_again_and_again_is_given_up(bags: list[Path], models: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()  # no folder can be made there
    told: list[str] = []
    with ThreadPoolExecutor(1) as executor:
        done = run([task_of(bags[0], tmp_path / "out", models)], executor, 1, lambda done, total: None, told.append)
    assert len(told) == TRIES - 1 and [bag.name for bag in done.bags] == ["bad"]
    assert done.bags[0].fault.startswith(f"given up after {TRIES} tries") and str(tmp_path) in done.bags[0].fault


def test_a_cluster_gives_the_same_even_if_its_workers_are_killed(
    bags: list[Path], models: Path, by_one: Path, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `fleet` is not installed")
    output, whole_by_then = tmp_path / "out", list[bool]()

    def kill(workers: dict[str, Any]) -> None:
        """Kill every worker as soon as a segment is under way; Dask starts others."""
        wait_for(lambda: list(output.glob("*.part/*/bag/*.mcap")), "a segment")
        for nanny in workers.values():
            os.kill(nanny.pid, signal.SIGKILL)
        whole_by_then.append((output / "bad").exists())

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, protocol="tcp://", dashboard_address=None) as local,
        cluster(local.scheduler_address) as (executor, count),
    ):
        assert count == 2
        thread = threading.Thread(target=kill, args=(local.workers,))
        thread.start()
        restored(bags[:1], output, models, executor, count)
        thread.join()
    assert whole_by_then == [False], "else the killed workers had nothing left to do"
    assert contents(output / "bad") == contents(by_one / "bad")
