from __future__ import annotations

import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Alarm, Anomaly
from derain_ros.runtime.judge.decision import GAP_NS, Decision, Flag

CONFIG = Config(on_score=0.6, off_score=0.4, on_hold_s=0.2, off_hold_s=1.0)
SECOND = 1_000_000_000


def feed(flag: Flag, *scores: tuple[float, float], config: Config = CONFIG) -> list[bool]:
    """The flag after each (time in s, score)."""
    return [
        flag.update(
            score, round(time_s * SECOND), config.on_score, config.off_score, config.on_hold_s, config.off_hold_s
        )
        for time_s, score in scores
    ]


def raised(at: float = 0.0) -> Flag:
    flag = Flag()
    feed(flag, (at - 0.2, 1.0), (at, 1.0))
    assert flag.raised
    return flag


def test_it_rises_once_the_score_stayed_high_for_the_hold_time() -> None:
    assert feed(Flag(), (5.0, 0.6), (5.1, 0.9), (5.199, 0.9), (5.2, 0.6)) == [False, False, False, True]


def test_a_dip_starts_the_hold_time_again() -> None:
    assert feed(Flag(), (0.0, 0.9), (0.15, 0.59), (0.2, 0.9), (0.35, 0.9), (0.4, 0.9)) == [False] * 4 + [True]


def test_it_falls_once_the_score_stayed_low_for_the_hold_time() -> None:
    assert feed(raised(), (0.1, 0.39), (0.6, 0.0), (1.09, 0.0), (1.1, 0.39)) == [True, True, True, False]


def test_a_score_between_the_thresholds_changes_nothing() -> None:
    assert feed(Flag(), *[(t, 0.5) for t in range(5)]) == [False] * 5
    assert feed(raised(), *[(t, 0.5) for t in range(1, 5)]) == [True] * 4
    assert feed(raised(), *[(t, 0.4) for t in range(1, 5)]) == [True] * 4


def test_a_drop_that_leaves_and_comes_back_does_not_flap() -> None:
    scores = [(0.3 * n, 0.9 if n % 2 else 0.1) for n in range(1, 20)]
    assert feed(raised(), *scores) == [True] * len(scores)


def test_without_hold_times_it_follows_at_once() -> None:
    config = Config(on_hold_s=0.0, off_hold_s=0.0)
    assert feed(Flag(), (0, 0.9), (1, 0.1), (2, 0.9), config=config) == [True, False, True]


def test_no_hold_time_counts_over_a_gap() -> None:
    late = GAP_NS / SECOND + 0.1
    assert feed(Flag(), (0.0, 0.9), (late, 0.9), (late + 0.1, 0.9), (late + 0.2, 0.9)) == [False] * 3 + [True]
    assert feed(raised(), (0.1, 0.0), (late + 0.1, 0.0), (late + 1.0, 0.0), (late + 1.1, 0.0)) == [True] * 3 + [False]


def test_changed_thresholds_count_from_the_next_frame_on() -> None:
    flag = Flag()
    assert feed(flag, (0, 0.5), (1, 0.5)) == [False, False]
    assert feed(flag, (2, 0.5), (3, 0.5), config=Config(on_score=0.5, off_score=0.4)) == [False, True]


MASK = np.zeros((2, 2), np.uint8)


def seen(score: float, coverage: float = 0.05, kind: str = "raindrop") -> Anomaly:
    return Anomaly(kind if score >= CONFIG.on_score else "clean", score, coverage, MASK)


def decide(decision: Decision, start: float, seconds: float, **anomalies: Anomaly) -> None:
    """The same anomalies in every frame, 20 a second."""
    for n in range(round(seconds * 20) + 1):
        decision.update(anomalies, round((start + n / 20) * SECOND), CONFIG)


def test_each_camera_has_its_own_alarm() -> None:
    decision = Decision()
    assert decision.alarm("left") is Alarm.CLEAR and not decision.affected
    decide(decision, 0, 1, left=seen(0.9), right=seen(0.1))
    assert (decision.alarm("left"), decision.alarm("right"), decision.affected) == (Alarm.AFFECTED, Alarm.CLEAR, True)
    decide(decision, 1, 2, left=seen(0.1), right=seen(0.1))
    assert decision.alarm("left") is Alarm.CLEAR and not decision.affected


def test_an_alarm_is_severe_once_much_was_covered_for_long_and_not_after_a_moment_of_less() -> None:
    decision = Decision()
    decide(decision, 0, 2.5, left=seen(0.9, 0.3))
    assert decision.alarm("left") is Alarm.AFFECTED
    decide(decision, 2.5, 1, left=seen(0.9, 0.3))
    assert decision.alarm("left") is Alarm.SEVERE
    decide(decision, 3.5, 0.5, left=seen(0.9, 0.05))
    assert decision.alarm("left") is Alarm.SEVERE
    decide(decision, 4, 1, left=seen(0.9, 0.05))
    assert decision.alarm("left") is Alarm.AFFECTED


def told(**probabilities: float) -> Anomaly:
    """An anomaly of which several kinds may be at work, each with a probability of its own."""
    worst = max(probabilities, key=probabilities.__getitem__)
    score = probabilities[worst]
    return Anomaly(
        worst if score >= CONFIG.on_score else "clean",
        score,
        0.05,
        MASK,
        {"clean": 1 - score, "raindrop": 0.0, "dirt": 0.0, "streak": 0.0} | probabilities,
    )


def test_before_anything_is_settled_it_is_restored_for_the_strongest_of_the_instant() -> None:
    decision = Decision()
    assert decision.kinds == {"clean"}
    decide(decision, 0, 0, left=told(dirt=0.7), right=told(raindrop=0.9))
    assert decision.kinds == {"raindrop"} and not decision.affected


def test_all_kinds_that_are_settled_are_restored_for() -> None:
    decision = Decision()
    decide(decision, 0, 1, left=told(raindrop=0.9, streak=0.3), right=told(streak=0.8))
    assert decision.kinds == {"raindrop", "streak"}
    decide(decision, 1, 1, left=told(raindrop=0.9, streak=0.8, dirt=0.7))
    assert decision.kinds == {"raindrop", "streak", "dirt"}


def test_a_kind_comes_and_goes_with_hold_times_of_its_own() -> None:
    decision = Decision()
    decide(decision, 0, 1, left=told(raindrop=0.9))
    decide(decision, 1.05, 0.1, left=told(raindrop=0.9, streak=0.9))
    assert decision.kinds == {"raindrop"}
    decide(decision, 1.2, 0.1, left=told(raindrop=0.9, streak=0.9))
    assert decision.kinds == {"raindrop", "streak"}
    # Between both thresholds it stays; under the lower one it goes after the hold time.
    decide(decision, 1.35, 5, left=told(raindrop=0.9, streak=0.5))
    decide(decision, 6.4, 0.9, left=told(raindrop=0.9, streak=0.1))
    assert decision.kinds == {"raindrop", "streak"}
    decide(decision, 7.35, 0.1, left=told(raindrop=0.9, streak=0.1))
    assert decision.kinds == {"raindrop"}


def test_kinds_that_take_turns_do_not_flap() -> None:
    decision, seen_kinds = Decision(), set()
    decide(decision, 0, 1, left=told(raindrop=0.9))
    for n in range(60):
        decide(decision, 1.05 + n / 20, 0, left=told(**{("streak", "raindrop")[n % 2]: 0.9}))
        seen_kinds.add(frozenset(decision.kinds))
    assert seen_kinds == {frozenset({"raindrop"})}


def test_kinds_of_which_none_is_sure_do_not_flap_either() -> None:
    # A detector of exclusive classes: something is there for sure, be it this or that.
    decision, seen_kinds = Decision(), set()
    for n in range(60):
        drops = 0.47 if n % 2 else 0.44
        anomaly = Anomaly(
            "raindrop" if n % 2 else "dirt", 0.91, 0.05, MASK, {"clean": 0.09, "raindrop": drops, "dirt": 0.91 - drops}
        )
        decide(decision, n / 20, 0, left=anomaly)
        if decision.affected:
            seen_kinds.add(frozenset(decision.kinds))
    assert len(seen_kinds) == 1


def test_what_the_other_eye_took_back_is_not_restored_for() -> None:
    decision = Decision()
    decide(decision, 0, 1, left=Anomaly("clean", 0.1, 0.0, MASK, {"clean": 0.1, "raindrop": 0.9}))
    assert decision.kinds == {"clean"}


def test_once_it_is_clean_again_the_last_kind_stays_for_the_frames_that_are_still_restored() -> None:
    decision = Decision()
    decide(decision, 0, 1, left=told(streak=0.9))
    decide(decision, 1.05, 0.5, left=told(streak=0.1))
    assert decision.kinds == {"streak"} and decision.affected
    decide(decision, 1.6, 2, left=told(streak=0.1))
    assert not decision.affected
    decide(decision, 4, 0, left=told(dirt=0.9))
    assert decision.kinds == {"dirt"}
