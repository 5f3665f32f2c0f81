"""The faults of the soak test: one function per fault, and the seeded order in which they are played.

A fault function gets the rig, about how many seconds the fault lasts, and `chance` for its random choices. It returns a
text that says what it did. When it returns, the fault is over: what it stopped is running again; what it changed is
reset or stays changed.
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
"""Seconds by which a clock is shifted."""
SILENCE_S = 0.5
"""Least time for which a camera that restarts is away."""
LONG_HANG_S = 22.0
"""Longer than the node waits for a network: it then gives the network up."""
LONG_HANGS = 0.15
"""Probability that a hang is this long."""


@dataclass(frozen=True)
class Fault:
    """One of FAULTS by its `kind`, about how many `seconds` it lasts, and the `seed` of its random choices."""

    kind: str
    seconds: float
    seed: int


def cameras_stop(rig: Rig, seconds: float, chance: Random) -> str:
    """One camera, or both, send nothing."""
    names = chance.choice((CAMERAS[:1], CAMERAS[1:], CAMERAS))
    for name in names:
        rig.senders.sending[name].silent = True
    rig.wait(seconds)
    for name in names:
        rig.senders.sending[name].silent = False
    return f"{' and '.join(names)} silent"


def camera_restarts(rig: Rig, seconds: float, chance: Random) -> str:
    """A camera ends and starts again: to DDS it is another publisher."""
    name = chance.choice(CAMERAS)
    rig.senders.restart(name, max(SILENCE_S, seconds / 2))
    rig.await_matched()
    return f"{name} ended and started again"


def size_changes(rig: Rig, seconds: float, chance: Random) -> str:
    """From now on frames have another size; one camera changes first."""
    return _change(rig, seconds, chance, lambda sending: {"size": (sending.size + 1) % len(SIZES)})


def encoding_changes(rig: Rig, seconds: float, chance: Random) -> str:
    """From now on frames have the other encoding, grey or colour; one camera changes first."""
    return _change(
        rig,
        seconds,
        chance,
        lambda sending: {"encoding": ENCODINGS[(ENCODINGS.index(sending.encoding) + 1) % len(ENCODINGS)]},
    )


def encoding_unknown(rig: Rig, seconds: float, chance: Random) -> str:
    """One camera sends frames in an encoding that the node does not know."""
    name = chance.choice(CAMERAS)
    sending = rig.senders.sending[name]
    before, sending.encoding = sending.encoding, ODD
    rig.wait(seconds)
    sending.encoding = before
    return f"{name} of an unknown encoding"


def time_jumps(rig: Rig, seconds: float, chance: Random) -> str:
    """The clock of both cameras is shifted for good, or that of one camera for a while."""
    names, jump_s = chance.choice((CAMERAS, CAMERAS, CAMERAS[:1])), chance.choice(JUMPS_S)
    for name in names:
        rig.senders.sending[name].ahead_ns += round(jump_s * SECOND_NS)
    rig.wait(seconds)
    if names != CAMERAS:
        for name in names:
            rig.senders.sending[name].ahead_ns -= round(jump_s * SECOND_NS)
    return f"{' and '.join(names)} by {jump_s:+g} s"


def stamps_repeat(rig: Rig, seconds: float, chance: Random) -> str:
    """All frames have the same stamp: the current time, or 1 ns after 1970 began."""
    still_ns = chance.choice((1, rig.now_ns()))
    for sending in rig.senders.sending.values():
        sending.still_ns = still_ns
    rig.wait(seconds)
    for sending in rig.senders.sending.values():
        sending.still_ns = 0
    return "one stamp for all frames" if still_ns > 1 else "stamps of 1970"


def garbage(rig: Rig, seconds: float, chance: Random) -> str:
    """One camera sends invalid messages between its frames."""
    name = chance.choice(CAMERAS)
    rig.senders.sending[name].garbage = chance
    rig.wait(seconds)
    rig.senders.sending[name].garbage = None
    return f"between the frames of {name}"


def duplicates(rig: Rig, seconds: float, chance: Random) -> str:
    """Every frame is sent two or three times."""
    copies = chance.choice((2, 3))
    for sending in rig.senders.sending.values():
        sending.copies = copies
    rig.wait(seconds)
    for sending in rig.senders.sending.values():
        sending.copies = 1
    return f"each frame sent {copies} times"


def slow_subscriber(rig: Rig, seconds: float, chance: Random) -> str:
    """Another process subscribes to all outputs, and is stopped nine tenths of the time."""
    with rig.subscriber() as process:
        for _ in range(max(1, round(seconds))):
            process.send_signal(signal.SIGSTOP)
            rig.wait(0.9)
            process.send_signal(signal.SIGCONT)
            rig.wait(0.1)
    return "reads a tenth of the time"


def dead_subscriber(rig: Rig, seconds: float, chance: Random) -> str:
    """Another process subscribes to all outputs, is stopped and then killed, so that it does not unsubscribe."""
    with rig.subscriber() as process:
        process.send_signal(signal.SIGSTOP)
        rig.wait(seconds)
        process.kill()
    return "stopped, then killed"


def parameters_change(rig: Rig, seconds: float, chance: Random) -> str:
    """Parameters are changed while the node runs, some to invalid values; at the end they are reset."""
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
    """The node is deactivated, asked for an invalid transition, and activated again."""
    change_state(rig, Transition.TRANSITION_DEACTIVATE, True)
    change_state(rig, Transition.TRANSITION_DEACTIVATE, False)
    rig.wait(seconds)
    change_state(rig, Transition.TRANSITION_ACTIVATE, True)
    rig.await_matched()
    return "and activated again"


def configured_anew(rig: Rig, seconds: float, chance: Random) -> str:
    """The node is deactivated and cleaned up, then configured and activated again."""
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        change_state(rig, transition, True)
    rig.wait(seconds)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        change_state(rig, transition, True)
    rig.await_matched()
    rig.await_loaded()
    return "topics and models released before"


def engine_fails(rig: Rig, seconds: float, chance: Random) -> str:
    """Every run of the restorers, or of the detector, fails."""
    task = chance.choice(("restore", "restore", "detect"))
    rig.ail(FAIL, task, seconds)
    rig.wait(seconds)
    return f"{task} fails"


def engine_hangs(rig: Rig, seconds: float, chance: Random) -> str:
    """Runs of the restorers, or of the detector, do not return; sometimes for so long that the network is given up."""
    task = chance.choice(("restore", "restore", "detect"))
    seconds = LONG_HANG_S if chance.random() < LONG_HANGS else seconds
    rig.ail(HANG, task, seconds)
    rig.wait(seconds)
    return f"{task} hangs for {seconds:.1f} s"


def busy_machine(rig: Rig, seconds: float, chance: Random) -> str:
    """Other processes compute: as many as there are cores, or twice as many."""
    number = (os.cpu_count() or 1) * chance.choice((1, 2))
    with busy(number):
        rig.wait(seconds)
    return f"{number} busy processes"


def node_stopped(rig: Rig, seconds: float, chance: Random) -> str:
    """The node's process is stopped (SIGSTOP), and continued at the end."""
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
"""By name: the function, and the least and the greatest duration in seconds."""


def schedule(seed: int) -> Iterator[Fault]:
    """An endless sequence of faults in rounds, each with every kind once; the same seed gives the same sequence."""
    chance = Random(seed)
    while True:
        for kind in chance.sample(sorted(FAULTS), len(FAULTS)):
            _, shortest, longest = FAULTS[kind]
            yield Fault(kind, round(chance.uniform(shortest, longest), 1), chance.randrange(1 << 32))


def do(fault: Fault, rig: Rig) -> str:
    """Play a fault; returns a text that says what was done.

    ReplayError if the node ends by itself, BenchError if it does not answer as it should.
    """
    function, _, _ = FAULTS[fault.kind]
    return function(rig, fault.seconds, Random(fault.seed))


def set_parameter(rig: Rig, name: str, value: object, possible: bool) -> None:
    """Set a parameter of the node; BenchError if it accepts a value that is not `possible`, or refuses one that is."""
    request = [Parameter(name, value=value).to_parameter_msg()]
    (result,) = rig.control.call(SetParameters, "set_parameters", parameters=request).results
    if result.successful is not possible:
        raise BenchError(f"the parameter {name} set to {value!r}: {result.reason or 'taken'}")


def change_state(rig: Rig, transition: int, possible: bool) -> None:
    """Request a life-cycle transition; BenchError if it fails though `possible`, or succeeds though not `possible`."""
    done = rig.control.call(ChangeState, "change_state", transition=Transition(id=transition)).success
    if done is not possible:
        raise BenchError(f"the transition {transition} of the life cycle {'succeeded' if done else 'failed'}")


def _change(rig: Rig, seconds: float, chance: Random, change: Callable[..., dict[str, object]]) -> str:
    """Apply `change` to both cameras, one after the other, and wait half of `seconds` after each."""
    told: dict[str, object] = {}
    for name in chance.sample(CAMERAS, len(CAMERAS)):
        for key, value in change(rig.senders.sending[name]).items():
            setattr(rig.senders.sending[name], key, value)
            told[key] = "x".join(map(str, SIZES[value][::-1])) if isinstance(value, int) else value
        rig.wait(seconds / len(CAMERAS))
    return ", ".join(f"{key} {value}" for key, value in told.items())
