from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import rclpy.logging
from rclpy.serialization import serialize_message
from ros_bench import image_message

from derain_ros.config import Config
from derain_ros.frame import Action
from derain_ros.ros.diagnostics import Statistics
from derain_ros.ros.intake import Intake
from derain_ros.ros.mailbox import Job

VIEW = np.zeros((4, 6), np.uint8)
S = 1_000_000_000


def image_cdr(ms: float) -> bytes:
    return serialize_message(image_message(VIEW, ms=ms))


class Bench:
    def __init__(self, **settings: Any) -> None:
        config = Config.from_mapping(settings)
        self.jobs: list[Job] = []
        self.now_ns = 0
        self.statistics = Statistics(config.cameras)
        self.intake = Intake(
            config, self.statistics, self.jobs.append, lambda: self.now_ns, rclpy.logging.get_logger("intake")
        )

    def take(self, ms: float, apart: float = 0.0) -> Job:
        self.intake.take("left", image_cdr(ms), 0)
        self.intake.take("right", image_cdr(ms + apart), 2)
        return self.jobs[-1]


def test_a_pair_becomes_a_job_whose_budget_counts_from_its_arrival() -> None:
    bench, before = Bench(), time.monotonic_ns()
    job = bench.take(1000.0)
    assert before <= job.frames.received_ns <= time.monotonic_ns() and job.action is None
    assert bench.statistics.counts("right") == {"received": 1, "lost": 2}


@pytest.mark.parametrize(("age_ms", "apart"), [(80.0, 0.0), (80.0, -3.0), (4000.0, 0.0)])
def test_the_budget_counts_from_the_older_stamp_where_that_is_asked_for(age_ms: float, apart: float) -> None:
    bench = Bench(budget_from="stamp")
    bench.now_ns = round((20_000 + age_ms) * 1e6)
    before = time.monotonic_ns()
    begun = bench.take(20_000, apart).frames.received_ns
    after = time.monotonic_ns()
    spent = round((age_ms - apart) * 1e6)
    assert before <= begun + spent <= after


def test_a_stamp_of_the_future_counts_as_arrival() -> None:
    bench = Bench(budget_from="stamp")
    bench.now_ns = 1 * S
    before = time.monotonic_ns()
    assert before <= bench.take(9000).frames.received_ns <= time.monotonic_ns()


def test_what_it_counts_from_can_be_changed() -> None:
    bench = Bench(budget_from="stamp")
    bench.intake.apply(Config(pair_tolerance_ms=50.0))
    bench.now_ns = 100 * S
    before = time.monotonic_ns()
    assert bench.take(1000, 49.0).frames.received_ns >= before


def test_the_cameras_period_is_told_once_it_is_known() -> None:
    bench = Bench()
    assert [bench.take(40.0 * n).frames.period_ms for n in range(30)][-1] == 40.0


def test_frames_without_a_counterpart_are_passed_on_with_the_reason() -> None:
    bench = Bench()
    for ms in range(0, 1000, 100):
        bench.intake.take("left", image_cdr(ms), 0)
    assert {job.action for job in bench.jobs} == {Action.PASSED_UNPAIRED}
    assert "within 5 ms" in bench.jobs[0].detail and bench.statistics.counts("left")["unpaired"] == len(bench.jobs)
