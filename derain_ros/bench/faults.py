"""What the long run does to the node: each fault a function, and the seeded order in which they come.

A fault lasts about the seconds that it is given, draws what it leaves open from `chance`, and returns in words what it
did. When it returns the fault is over: what it stopped goes on, what it changed is back or is to be lived with.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from derain_ros.bench import BenchError
from derain_ros.bench.ailing import FAIL, HANG
from derain_ros.bench.camera import CAMERAS
from derain_ros.bench.node import busy
from derain_ros.bench.rig import Rig
from derain_ros.bench.senders import ENCODINGS, ODD, SIZES
from derain_ros.bench.soaked import ANEW

SECOND_NS = 1_000_000_000
JUMPS_S = (-86400.0, -60.0, -2.0, -0.15, 0.15, 2.0, 60.0, 86400.0)
"""By how much a clock is set."""
SILENCE_S = 0.5
"""How long a camera that restarts is away at the least."""
LONG_HANG_S = 22.0
"""Longer than a network is waited for: it is given up then."""
LONG_HANGS = 0.15
"""Share of such hangs."""


@dataclass(frozen=True)
class Fault:
    """One of FAULTS, about how long it lasts in seconds, and the seed of what it draws."""

    kind: str
    seconds: float
    seed: int


def cameras_stop(rig: Rig, seconds: float, chance: Random) -> str:
    """One camera sends nothing, or both."""
    names = chance.choice((CAMERAS[:1], CAMERAS[1:], CAMERAS))
    for name in names:
        rig.senders.sending[name].silent = True
    rig.wait(seconds)
    for name in names:
        rig.senders.sending[name].silent = False
    return f"{' and '.join(names)} silent"


def camera_restarts(rig: Rig, seconds: float, chance: Random) -> str:
    """The process of a camera ends and begins anew: to DDS it is another publisher."""
    name = chance.choice(CAMERAS)
    rig.senders.restart(name, max(SILENCE_S, seconds / 2))
    rig.await_matched()
    return f"{name} ended and began anew"


def size_changes(rig: Rig, seconds: float, chance: Random) -> str:
    """Frames are of another size from now on; one camera is first."""
    return _change(rig, seconds, chance, lambda sending: {"size": (sending.size + 1) % len(SIZES)})


def encoding_changes(rig: Rig, seconds: float, chance: Random) -> str:
    """Frames are of another encoding from now on, grey or colour; one camera is first."""
    return _change(
        rig,
        seconds,
        chance,
        lambda sending: {"encoding": ENCODINGS[(ENCODINGS.index(sending.encoding) + 1) % len(ENCODINGS)]},
    )


def encoding_unknown(rig: Rig, seconds: float, chance: Random) -> str:
    """A camera's frames are of an encoding that the node does not know."""
    name = chance.choice(CAMERAS)
    sending = rig.senders.sending[name]
    before, sending.encoding = sending.encoding, ODD
    rig.wait(seconds)
    sending.encoding = before
    return f"{name} of an unknown encoding"


def time_jumps(rig: Rig, seconds: float, chance: Random) -> str:
    """The clock of the cameras, or of one of them for a while, is set."""
    names, jump_s = chance.choice((CAMERAS, CAMERAS, CAMERAS[:1])), chance.choice(JUMPS_S)
    for name in names:
        rig.senders.sending[name].ahead_ns += round(jump_s * SECOND_NS)
    rig.wait(seconds)
    if names != CAMERAS:
        for name in names:
            rig.senders.sending[name].ahead_ns -= round(jump_s * SECOND_NS)
    return f"{' and '.join(names)} by {jump_s:+g} s"


def stamps_repeat(rig: Rig, seconds: float, chance: Random) -> str:
    """All frames have one stamp, or no time at all."""
    still_ns = chance.choice((1, rig.now_ns()))
    for sending in rig.senders.sending.values():
        sending.still_ns = still_ns
    rig.wait(seconds)
    for sending in rig.senders.sending.values():
        sending.still_ns = 0
    return "one stamp for all" if still_ns > 1 else "stamps of 1970"


def garbage(rig: Rig, seconds: float, chance: Random) -> str:
    """What is no image comes between the frames."""
    name = chance.choice(CAMERAS)
    rig.senders.sending[name].garbage = chance
    rig.wait(seconds)
    rig.senders.sending[name].garbage = None
    return f"between the frames of {name}"


def duplicates(rig: Rig, seconds: float, chance: Random) -> str:
    """Every frame comes more than once."""
    copies = chance.choice((2, 3))
    for sending in rig.senders.sending.values():
        sending.copies = copies
    rig.wait(seconds)
    for sending in rig.senders.sending.values():
        sending.copies = 1
    return f"each frame {copies} times"


def slow_subscriber(rig: Rig, seconds: float, chance: Random) -> str:
    """Somebody else subscribes to all outputs, and sleeps most of the time."""
    with rig.subscriber() as process:
        for _ in range(max(1, round(seconds))):
            process.send_signal(signal.SIGSTOP)
            rig.wait(0.9)
            process.send_signal(signal.SIGCONT)
            rig.wait(0.1)
    return "awake a tenth of the time"


def dead_subscriber(rig: Rig, seconds: float, chance: Random) -> str:
    """Somebody else subscribes to all outputs, stands still and is killed: it takes leave of nobody."""
    with rig.subscriber() as process:
        process.send_signal(signal.SIGSTOP)
        rig.wait(seconds)
        process.kill()
    return "stopped, then killed"


def parameters_change(rig: Rig, seconds: float, chance: Random) -> str:
    """Settings are changed while the node runs, some to what cannot be, and in the end are what they were."""
    changes: list[tuple[str, object, bool]] = [
        ("budget_ms", 5.0, True),
        ("enabled", False, True),
        ("fill", "smooth", True),
        ("budget_from", "stamp", True),
        ("gating", not rig.config.gating, True),
        ("lazy", False, True),
        ("pair_tolerance_ms", 1.0, True),
        ("budget_ms", -1.0, False),
        ("engine", "none", False),
        ("fill", 7, False),
    ]
    chosen = chance.sample(changes, 4)
    for name, value, possible in chosen:
        set_parameter(rig, name, value, possible)
        rig.wait(seconds / len(chosen))
    for name in {name for name, _, possible in chosen if possible}:
        set_parameter(rig, name, getattr(rig.config, name), True)
    return ", ".join(f"{name} {value}" for name, value, _ in chosen)


def deactivated(rig: Rig, seconds: float, chance: Random) -> str:
    """The node is deactivated, asked for what is not possible then, and activated again."""
    change_state(rig, Transition.TRANSITION_DEACTIVATE, True)
    change_state(rig, Transition.TRANSITION_DEACTIVATE, False)
    rig.wait(seconds)
    change_state(rig, Transition.TRANSITION_ACTIVATE, True)
    rig.await_matched()
    return "and activated again"


def configured_anew(rig: Rig, seconds: float, chance: Random) -> str:
    """The node gives up its topics and models, and gets them again."""
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        change_state(rig, transition, True)
    rig.wait(seconds)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        change_state(rig, transition, True)
    rig.await_matched()
    rig.await_loaded()
    return "topics and models given up before"


def engine_fails(rig: Rig, seconds: float, chance: Random) -> str:
    """Every run of the restorers, or of the detector, fails."""
    task = chance.choice(("restore", "restore", "detect"))
    rig.ail(FAIL, task, seconds)
    rig.wait(seconds)
    return f"{task} fails"


def engine_hangs(rig: Rig, seconds: float, chance: Random) -> str:
    """A run of the restorers, or of the detector, does not return; now and then for so long that it is given up."""
    task = chance.choice(("restore", "restore", "detect"))
    seconds = LONG_HANG_S if chance.random() < LONG_HANGS else seconds
    rig.ail(HANG, task, seconds)
    rig.wait(seconds)
    return f"{task} hangs for {seconds:.1f} s"


def busy_machine(rig: Rig, seconds: float, chance: Random) -> str:
    """Other processes take all cores."""
    number = (os.cpu_count() or 1) * chance.choice((1, 2))
    with busy(number):
        rig.wait(seconds)
    return f"{number} busy processes"


def node_stopped(rig: Rig, seconds: float, chance: Random) -> str:
    """The node's process gets no time at all (SIGSTOP)."""
    os.kill(rig.node.pid, signal.SIGSTOP)
    try:
        rig.wait(seconds)
    finally:
        os.kill(rig.node.pid, signal.SIGCONT)
    return "SIGSTOP"


FAULTS: dict[str, tuple[Callable[[Rig, float, Random], str], float, float]] = {
    "cameras stop": (cameras_stop, 0.5, 4.0),
    "camera restarts": (camera_restarts, 1.0, 4.0),
    "size changes": (size_changes, 0.0, 2.0),
    "encoding changes": (encoding_changes, 0.0, 2.0),
    "encoding unknown": (encoding_unknown, 0.5, 3.0),
    "time jumps": (time_jumps, 0.5, 3.0),
    "stamps repeat": (stamps_repeat, 0.5, 3.0),
    "garbage": (garbage, 1.0, 4.0),
    "duplicates": (duplicates, 1.0, 3.0),
    "slow subscriber": (slow_subscriber, 2.0, 5.0),
    "dead subscriber": (dead_subscriber, 1.0, 4.0),
    "parameters change": (parameters_change, 1.0, 3.0),
    "deactivated": (deactivated, 0.0, 2.0),
    ANEW: (configured_anew, 0.0, 2.0),
    "engine fails": (engine_fails, 0.3, 4.0),
    "engine hangs": (engine_hangs, 0.3, 4.0),
    "busy machine": (busy_machine, 1.0, 5.0),
    "node stopped": (node_stopped, 0.3, 5.0),
}
"""By name: what is done, and how long at the least and at the most, in seconds."""


def schedule(seed: int) -> Iterator[Fault]:
    """Faults without end, the same for the same seed: in rounds, in each of which every kind comes once."""
    chance = Random(seed)
    while True:
        for kind in chance.sample(sorted(FAULTS), len(FAULTS)):
            _, shortest, longest = FAULTS[kind]
            yield Fault(kind, round(chance.uniform(shortest, longest), 1), chance.randrange(1 << 32))


def do(fault: Fault, rig: Rig) -> str:
    """Do it; in words, what was done. ReplayError where the node ends by itself, BenchError where it does not answer
    as it should."""
    function, _, _ = FAULTS[fault.kind]
    return function(rig, fault.seconds, Random(fault.seed))


def set_parameter(rig: Rig, name: str, value: object, possible: bool) -> None:
    """Set a parameter of the node; BenchError where it takes what is not `possible`, or refuses what is."""
    request = [Parameter(name, value=value).to_parameter_msg()]
    (result,) = rig.control.call(SetParameters, "set_parameters", parameters=request).results
    if result.successful is not possible:
        raise BenchError(f"the parameter {name} set to {value!r}: {result.reason or 'taken'}")


def change_state(rig: Rig, transition: int, possible: bool) -> None:
    """Have the node make a transition; BenchError where it does not, or does what is not `possible`."""
    done = rig.control.call(ChangeState, "change_state", transition=Transition(id=transition)).success
    if done is not possible:
        raise BenchError(f"the transition {transition} of the life cycle {'succeeded' if done else 'failed'}")


def _change(rig: Rig, seconds: float, chance: Random, change: Callable[..., dict[str, object]]) -> str:
    """Change what both cameras send, one of them first and the other `seconds` later."""
    told: dict[str, object] = {}
    for name in chance.sample(CAMERAS, len(CAMERAS)):
        for key, value in change(rig.senders.sending[name]).items():
            setattr(rig.senders.sending[name], key, value)
            told[key] = "x".join(map(str, SIZES[value][::-1])) if isinstance(value, int) else value
        rig.wait(seconds / len(CAMERAS))
    return ", ".join(f"{key} {value}" for key, value in told.items())
