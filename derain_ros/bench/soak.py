"""The soak test: one node for hours, one fault after another, every frame accounted for."""

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
"""Rounds of the warm-up, after which memory, threads and files must be flat: every size has come in every encoding."""
CALM_S = 2.0
"""Seconds without a fault after the node restores again."""
GIVEN_UP_S = 60.0
"""Longest wait for the node to restore again."""
SILENCE_S = 0.4
"""Seconds without an output after which no more outputs are expected."""
REPORT_S = 10.0
"""Longest wait for the node's next counts, which it publishes once a second."""
TURNS = 4
"""How often counts are read until they are consistent; on a busy machine a frame may still be on its way."""


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
    """Run a node for `seconds` while cameras send at `rate` (Hz), and play `faults`, one after another.

    `tell` gets a line for each fault. BenchError or ReplayError if the node does not get ready. Whatever ends the run
    after that, also Ctrl-C and SIGTERM, is recorded in the result. `seed` is only recorded.
    """
    os.environ.update(transport_environment())  # read when this process joins DDS
    if os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "OFF":
        raise BenchError("ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so processes cannot find each other; unset it")
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
        f"derain: soak test, {account.played_s:.0f} s",
        LIVE,
        account,
        [],
        machine=this_machine(config.threads),
        usage=usage,
        origin=Origin(models=digests, config=asdict(config)),
    )
    return Soak(record, seed, rate, WARM_ROUNDS * len(FAULTS), run.results, run.crash, run.twice(), run.kept)


class _Run:
    """Plays the faults of one run, and collects their results."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.results = rig, list[FaultResult]()
        self.kept, self.crash = 0, ""
        self._settle()
        self._first_sent, self._first_came = len(rig.senders.sent), len(rig.receiver.came)
        self._begun_ns = self._ended_ns = time.monotonic_ns()

    def play(self, faults: Iterable[Fault], seconds: float, tell: Tell, progress: Progress | None) -> None:
        """Play the faults until `seconds` have passed or something ends the run, and set `crash` in the latter case."""
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
        except BaseException as error:  # the result keeps what was measured until then
            self.crash = self._why(error)
        self._ended_ns = time.monotonic_ns()

    def end(self) -> None:
        """End the node, unless it has ended; a failure is recorded in `crash`."""
        try:
            self.rig.node.end()
        except BaseException as error:
            self.crash = self.crash or self._why(error)

    def twice(self) -> int:
        """The number of outputs in excess of how often their frames were sent."""
        sent = Counter((s.camera, s.number) for s in self.rig.senders.sent)
        came = Counter((camera, number) for camera, number, _ in self.rig.receiver.came if number)
        return sum((came - sent).values())

    def account(self) -> Account:
        """The account of the run; frames get their send time as stamp, because their own stamps jump."""
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
        """A text that says what ended the run; if the node has ended, the text says that instead of what followed."""
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
        """Play one fault, wait until the node restores again and for CALM_S more, and count."""
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
        """The counts of each camera since `before`, read until they are consistent, at most TURNS times."""
        for _ in range(TURNS):
            now = self._counts()
            spent = {camera: now[camera].since(before[camera]) for camera in CAMERAS}
            causes = total(each.causes(camera, camera in deaf) for camera, each in spent.items())
            if not any(each.unreceived for each in spent.values()) and not any(c.startswith(UNKNOWN) for c in causes):
                break
            self._await_report()
        return spent

    def _await_restored(self, ended_ns: int) -> int:
        """The time in ns at which the node had reported restored frames of both cameras that were sent after this call.

        At least `ended_ns`; 0 if there is no such report within GIVEN_UP_S.
        """
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
        """Pause the cameras until no more outputs come, and until the node has published its counts."""
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
        """Deactivate the node, and count the frames that it then still keeps in `kept`; there must be none."""
        change_state(self.rig, Transition.TRANSITION_DEACTIVATE, True)
        self._await_report()
        self._await_report()
        self.kept = sum(abs(counts.told["waiting"]) for counts in self._counts().values())

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._begun_ns) / 1e9


def line(result: FaultResult) -> str:
    """The result of one fault as a line of text."""
    frames = ", ".join(f"{n} {what}" for what, n in result.frames.items())
    frames += "".join(f"; {n} {cause}" for cause, n in result.causes.items())
    return (
        f"{result.begun_s:7.1f} s  {result.kind}: {result.what}; restoring after {result.restored_after_s:.2f} s, then "
        f"longest wait {result.stall_ms:.0f} ms; {frames}; "
        f"{result.memory_mb:.0f} MB, {result.threads} threads, {result.files} files, {result.engines} engines"
    )
