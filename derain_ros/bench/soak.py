"""The long run: one node for hours, a fault after the other, every frame accounted for."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from lifecycle_msgs.msg import Transition

from derain_ros.bench import BenchError
from derain_ros.bench.camera import CAMERAS
from derain_ros.bench.counts import Counts, deaf_to, stall_ms, told_of, unreceived
from derain_ros.bench.faults import FAULTS, Fault, change_state, do
from derain_ros.bench.meters import resident_mb, watched
from derain_ros.bench.rig import Rig
from derain_ros.bench.soaked import INTERRUPTED, TERMINATED, UNKNOWN, FaultResult, Soak, total
from derain_ros.config import Config
from derain_ros.engine import Tell
from derain_ros.engine.machine import this_machine
from derain_ros.manifest import Manifest
from derain_ros.replay.account import Account, output_of
from derain_ros.replay.child import join_own_domain, transport_environment
from derain_ros.replay.measured import Usage
from derain_ros.replay.offline import Progress
from derain_ros.replay.origin import Origin
from derain_ros.replay.player import LIVE
from derain_ros.replay.record import Record
from derain_ros.replay.records import ReplayError

WARM_ROUNDS = 2
"""Rounds of faults after which memory, threads and files are to be flat: every size has come in every encoding."""
CALM_S = 2.0
"""How long nothing is done to the node once it restores again."""
GIVEN_UP_S = 60.0
"""How long that is waited for."""
SILENCE_S = 0.4
"""How long nothing must come until all has come that will."""
REPORT_S = 10.0
"""How long the node's next counts are waited for; it tells them once a second."""
TURNS = 4
"""How often counts are asked for until they fit; on a busy machine one may have been on its way."""


def soak(
    faults: Iterable[Fault],
    seconds: float,
    seed: int,
    rate: float,
    config: Config,
    models: Path | None,
    tell: Tell,
    progress: Progress | None = None,
) -> Soak:
    """Run a node for so long while cameras send at `rate`, and play these faults, one after the other.

    `tell` gets a line for each. BenchError or ReplayError where the node does not get ready; whatever ends the run
    later, Ctrl-C and SIGTERM too, is in the result. What `seed` the faults are of is only noted.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    if os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "OFF":
        raise BenchError("ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so that no process finds another; unset it")
    join_own_domain()
    usage: list[Usage] = []
    with Rig(config, models, rate) as rig:
        run = _Run(rig)
        with watched(rig.node.pid, usage):
            run.play(faults, seconds, tell, progress)
        run.end()
        account = run.account()
    digests = {model.name: model.sha256 for model in Manifest.load(models).models.values()}
    record = Record(
        f"derain: the long run, {account.played_s:.0f} s",
        LIVE,
        account,
        [],
        machine=this_machine(config.threads),
        usage=usage,
        origin=Origin(models=digests, config=asdict(config)),
    )
    return Soak(record, seed, rate, WARM_ROUNDS * len(FAULTS), run.results, run.crash, run.twice(), run.kept)


class _Run:
    """The faults of one run and what came of them."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.results = rig, list[FaultResult]()
        self.kept, self.crash = 0, ""
        self._settle()
        self._first_sent, self._first_came = len(rig.senders.sent), len(rig.receiver.came)
        self._begun_ns = self._ended_ns = time.monotonic_ns()

    def play(self, faults: Iterable[Fault], seconds: float, tell: Tell, progress: Progress | None) -> None:
        """Play the faults until the time is over, or the node gives up."""
        try:
            for fault in faults:
                result = self._play(fault)
                self.results.append(result)
                tell(line(result))
                done_s = self._seconds(time.monotonic_ns())
                if progress is not None:
                    progress(min(round(done_s), round(seconds)), round(seconds))
                if done_s >= seconds:
                    break
            self._take_down()
        except BaseException as error:  # the result holds what there is
            self.crash = self._why(error)
        self._ended_ns = time.monotonic_ns()

    def end(self) -> None:
        """End the node, unless it has."""
        try:
            self.rig.node.end()
        except BaseException as error:
            self.crash = self.crash or self._why(error)

    def twice(self) -> int:
        """How many frames came back more often than they were sent."""
        sent = Counter((s.camera, s.number) for s in self.rig.senders.sent)
        came = Counter((camera, number) for camera, number, _ in self.rig.receiver.came if number)
        return sum((came - sent).values())

    def account(self) -> Account:
        """The books of the run; the stamps of frames are when they were sent, as theirs jump."""
        rig = self.rig
        sent_ns = {(s.camera, s.number): s.sent_ns for s in reversed(rig.senders.sent[self._first_sent :])}
        account = Account(plans=rig.receiver.plans, engines=rig.link.models)
        account.played_s = account.recorded_s = self._seconds(self._ended_ns)
        for result in self.results:
            account.causes.update(result.causes)
            account.causes["lost on the way back"] += result.unreceived
        account.causes = +account.causes
        account.frames_in.update(s.camera for s in rig.senders.sent[self._first_sent :])
        for camera, number, came_ns in rig.receiver.came[self._first_came :]:
            begun_ns = sent_ns.get((camera, number), came_ns)
            told = rig.receiver.told.get((camera, number)) or output_of(camera, 0, {}, 0.0, float("nan"))
            account.outputs.append(replace(told, stamp_ns=begun_ns, latency_ms=(came_ns - begun_ns) / 1e6))
        return account

    def _why(self, error: BaseException) -> str:
        """In words, what ended the run: the end of the node, where that is why something was not found."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
        if isinstance(error, (ReplayError, BenchError)):
            return str(error)
        try:
            self.rig.node.check()
        except ReplayError as ended:
            return str(ended)
        return "".join(traceback.format_exception(error)).strip()

    def _play(self, fault: Fault) -> FaultResult:
        """One fault: do it, see how soon the node restores again, leave it alone for a while, and count."""
        rig, before, restarts = self.rig, self._counts(), dict(self.rig.senders.restarts)
        first_sent, first_came = len(rig.senders.sent), len(rig.receiver.came)
        rig.senders.resume()
        begun_ns = time.monotonic_ns()
        what = do(fault, rig)
        ended_ns = time.monotonic_ns()
        restored_ns = self._await_restored(ended_ns)
        rig.wait(CALM_S)
        calm_ns = restored_ns or ended_ns, time.monotonic_ns() - round(2e9 / rig.senders.rate)
        self._settle()
        deaf = deaf_to(fault.kind, restarts, rig.senders.restarts)
        spent = self._spent(before, deaf)
        sent, came = rig.senders.sent[first_sent:], rig.receiver.came[first_came:]
        folder = Path(f"/proc/{rig.node.pid}")
        return FaultResult(
            kind=fault.kind,
            what=what,
            begun_s=self._seconds(begun_ns),
            ended_s=self._seconds(ended_ns),
            restored_after_s=(restored_ns - ended_ns) / 1e9 if restored_ns else float("inf"),
            gap_ms=stall_ms(sent, came, begun_ns, calm_ns[0]),
            stall_ms=stall_ms(sent, came, *calm_ns),
            late_ms=max((s.late_ns / 1e6 for s in sent if s.sent_ns >= calm_ns[0]), default=0.0),
            frames=dict(total(each.frames() for each in spent.values())),
            causes=dict(total(each.causes(camera, camera in deaf) for camera, each in spent.items())),
            unreceived=unreceived(spent.values()),
            memory_mb=resident_mb(folder / "statm"),
            threads=len(list((folder / "task").iterdir())),
            files=len(list((folder / "fd").iterdir())),
            engines=len(rig.link.models.split(", ")),
        )

    def _spent(self, before: Mapping[str, Counts], deaf: Container[str]) -> dict[str, Counts]:
        """What was counted since then of each camera, asked for until it fits, if it does."""
        for _ in range(TURNS):
            now = self._counts()
            spent = {camera: now[camera].since(before[camera]) for camera in CAMERAS}
            causes = total(each.causes(camera, camera in deaf) for camera, each in spent.items())
            if not any(each.unreceived for each in spent.values()) and not any(c.startswith(UNKNOWN) for c in causes):
                break
            self._await_report()
        return spent

    def _await_restored(self, ended_ns: int) -> int:
        """When it was told that frames sent since then were restored, of both cameras; 0 where none was in time."""
        rig, sent = self.rig, self.rig.senders.sent
        before = len(sent)

        def restored() -> bool:
            first = {s.camera: s.number for s in reversed(sent[before:])}
            last = rig.receiver.restored
            return all(camera in first and last.get(camera, (0, 0))[0] >= first[camera] for camera in CAMERAS)

        if not rig.await_true(restored, GIVEN_UP_S):
            return 0
        return max(ended_ns, *(rig.receiver.restored[camera][1] for camera in CAMERAS))

    def _settle(self) -> None:
        """Have the cameras rest until all that comes back has come, and the node has counted it."""
        rig = self.rig
        rig.senders.pause()
        since_ns = time.monotonic_ns()

        def silent() -> bool:
            last_ns = max(since_ns, rig.receiver.came[-1][2] if rig.receiver.came else 0)
            return time.monotonic_ns() - last_ns > SILENCE_S * 1e9

        rig.await_true(silent, REPORT_S)
        self._await_report()

    def _await_report(self) -> None:
        reports = self.rig.link.reports
        self.rig.await_true(lambda: self.rig.link.reports > reports, REPORT_S)

    def _counts(self) -> dict[str, Counts]:
        sent = Counter(s.camera for s in self.rig.senders.sent)
        came = Counter(camera for camera, _, _ in self.rig.receiver.came)
        return {camera: Counts(sent[camera], came[camera], told_of(self.rig.link.counts[camera])) for camera in CAMERAS}

    def _take_down(self) -> None:
        """Deactivate the node, which then must keep nothing."""
        change_state(self.rig, Transition.TRANSITION_DEACTIVATE, True)
        self._await_report()
        self._await_report()
        self.kept = sum(abs(counts.told["waiting"]) for counts in self._counts().values())

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._begun_ns) / 1e9


def line(result: FaultResult) -> str:
    """One fault in a line."""
    frames = ", ".join(f"{n} {what}" for what, n in result.frames.items())
    frames += "".join(f"; {n} {cause}" for cause, n in result.causes.items())
    return (
        f"{result.begun_s:7.1f} s  {result.kind}: {result.what}; restoring after {result.restored_after_s:.2f} s, then "
        f"longest wait {result.stall_ms:.0f} ms; {frames}; "
        f"{result.memory_mb:.0f} MB, {result.threads} threads, {result.files} files, {result.engines} engines"
    )
