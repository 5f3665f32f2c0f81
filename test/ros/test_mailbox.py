from __future__ import annotations

import threading

import pytest

from derain_ros.frame import Action, FrameSet
from derain_ros.ros.mailbox import PASSED_ON, Job, Mailbox


@pytest.fixture
def mailbox() -> Mailbox:
    box = Mailbox()
    box.open()
    return box


def pair() -> Job:
    return Job(FrameSet({"left": None, "right": None}))  # type: ignore[dict-item]


def alone(camera: str) -> Job:
    return Job(FrameSet({camera: None}), Action.PASSED_UNPAIRED)  # type: ignore[dict-item]


def test_the_newest_frame_set_wins(mailbox: Mailbox) -> None:
    first, second = pair(), pair()
    assert mailbox.put(first) == [] and mailbox.put(second) == [first]
    assert mailbox.take() is second


def test_frames_to_pass_on_keep_their_place_and_replace_no_frame_set(mailbox: Mailbox) -> None:
    jobs = [alone("left"), pair(), alone("left"), alone("right")]
    assert [mailbox.put(job) for job in jobs] == [[]] * 4
    assert [mailbox.take() for _ in jobs] == jobs


def test_frames_to_pass_on_do_not_pile_up(mailbox: Mailbox) -> None:
    jobs = [alone("left") for _ in range(PASSED_ON + 2)]
    assert [job for each in jobs for job in mailbox.put(each)] == jobs[:2]
    assert mailbox.put(alone("right")) == []
    assert mailbox.take() is jobs[2]


def test_a_closed_mailbox_refuses_and_releases(mailbox: Mailbox) -> None:
    taken: list[Job | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    assert mailbox.close() == []
    thread.join(20)
    assert taken == [None]
    job = pair()
    assert mailbox.put(job) == [job]
    mailbox.open()
    assert mailbox.put(job) == [] and mailbox.close() == [job] and mailbox.take() is None
