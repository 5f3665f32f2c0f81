"""Named figures of a replay's record, and limits on them: `p99_ms > 50` is broken by a figure above 50."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from derain_ros.frame import Action, Alarm
from derain_ros.replay.account import Output, percentiles
from derain_ros.replay.record import Record

COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
FORM = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|==|!=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
FIGURES = {
    "frames_in": "frames that were sent, of all cameras",
    "frames_out": "frames that came back",
    "restored": "frames that were restored",
    "passed": "frames that were passed on",
    "passed_clean": "passed on because they were found clean",
    "passed_disabled": "passed on because restoring was switched off or no model was ready",
    "passed_budget": "passed on for want of time",
    "passed_no_plan": "passed on because no plan that is allowed helps against what is on the lens",
    "passed_unpaired": "passed on because no frame of the other camera came",
    "passed_error": "passed on because a stage failed or the encoding cannot be processed",
    "dropped": "frames that did not come back",
    "broken": "images of the bag that could not be read",
    "restored_share": "restored frames, of those sent",
    "dropped_share": "dropped frames, of those sent",
    "flagged_share": "frames in which the detector found something, of those that came back",
    "alarm_share": "frames during which the camera's alarm was on, debounced, of those of which it is told",
    "p50_ms": "latency, from sending a frame to receiving it: median",
    "p95_ms": "its 95th percentile",
    "p99_ms": "its 99th percentile",
    "max_ms": "its maximum",
    "detect_p50_ms": "time of the detector: median",
    "detect_p99_ms": "its 99th percentile",
    "restore_p50_ms": "time of restoring a frame set: median",
    "restore_p99_ms": "its 99th percentile",
    "fuse_p50_ms": "time of fusing a frame set with thermal: median",
    "fuse_p99_ms": "its 99th percentile",
    "transport_p50_ms": "latency without the pipeline, that is the middleware and waiting: median",
    "transport_p99_ms": "its 99th percentile",
    "jitter_p50_ms": "change of the latency from frame to frame of a camera: median",
    "jitter_p99_ms": "its 99th percentile",
    "age_p50_ms": "from a frame's stamp to its coming back, what the recorded driver took included: median",
    "age_p99_ms": "its 99th percentile",
    "cpu_cores": "cores of the processor that the node took, on average",
    "memory_mb": "memory of the node, at the most",
    "gpu_mb": "memory of the GPU in use by anyone, at the most",
    "highest_rate": "highest speed without loss, as a multiple of the recorded one, where it was measured",
}
"""Meaning of each figure."""


class LimitError(ValueError):
    """A limit is not valid; the message says how to write one, or which figures there are."""


@dataclass(frozen=True)
class Limit:
    """A condition on the figure `name`: the limit is broken if the figure compares by `sign` with `number`."""

    name: str
    sign: str
    number: float

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.number:g}"


def limits_of(texts: Iterable[str]) -> list[Limit]:
    """Return the limits in texts such as `p99_ms > 50`; LimitError for a text that is not valid."""
    found = []
    for text in texts:
        match = FORM.fullmatch(text)
        if match is None or not math.isfinite(float(match[3])):
            raise LimitError(
                f"{text!r} is not a limit; write NAME, one of {', '.join(COMPARED)}, and a number: 'p99_ms > 50'"
            )
        if match[1] not in FIGURES:
            raise LimitError(f"{match[1]}: there is no such figure; there are {', '.join(FIGURES)}")
        found.append(Limit(match[1], match[2], float(match[3])))
    return found


def broken(record: Record, limits: Sequence[Limit]) -> list[str]:
    """Return each broken limit in words, with its figure; a limit on a figure that is not known is broken."""
    figures, told = figures_of(record), []
    for limit in limits:
        value = figures[limit.name]
        if math.isnan(value):
            told.append(f"{limit}: {limit.name} is not known in this record")
        elif COMPARED[limit.sign](value, limit.number):
            told.append(f"{limit}: it is {value:.6g}")
    return told


def figures_of(record: Record) -> dict[str, float]:
    """Return every figure of FIGURES by name; NaN if it is not known."""
    account, outputs = record.account, record.account.outputs
    total, reasons = account.total(), account.reasons()
    alarms = [o.alarm != Alarm.CLEAR.name.lower() for o in outputs if o.alarm]
    found = {
        "frames_in": total["in"],
        "frames_out": total["out"],
        "restored": total["restored"],
        "passed": total["passed on"],
        **{action.value: reasons.get(action.value, 0) for action in Action if action is not Action.RESTORED},
        "dropped": total["dropped"],
        "broken": total["broken"],
        "restored_share": _share(total["restored"], total["in"]),
        "dropped_share": _share(total["dropped"], total["in"]),
        "flagged_share": _share(sum(o.flagged for o in outputs), len(outputs)),
        "alarm_share": _share(sum(alarms), len(alarms)),
        "max_ms": max((o.latency_ms for o in outputs if not math.isnan(o.latency_ms)), default=math.nan),
        "cpu_cores": float(np.mean([u.cores for u in record.usage])) if record.usage else math.nan,
        "memory_mb": max((u.memory_mb for u in record.usage), default=math.nan),
        "gpu_mb": max((u.gpu_mb for u in record.usage), default=math.nan),
        "highest_rate": max((r.rate for r in record.rates if r.no_loss), default=0.0 if record.rates else math.nan),
    }
    found["p50_ms"], found["p95_ms"], found["p99_ms"] = account.latency_ms()
    for name, values in {**times_of(outputs), "jitter": account.jitter_ms()}.items():
        found[f"{name}_p50_ms"], _, found[f"{name}_p99_ms"] = percentiles(values)
    return {name: float(found[name]) for name in FIGURES}


def times_of(outputs: Sequence[Output]) -> dict[str, list[float]]:
    """Return milliseconds by stage, and of transport and age; frames for which a stage did not run are left out."""
    return {
        "detect": [o.detect_ms for o in outputs if o.detect_ms > 0],
        "restore": [o.restore_ms for o in outputs if o.action == Action.RESTORED.value],
        "fuse": [o.fuse_ms for o in outputs if o.fuse_ms > 0],
        "transport": [o.transport_ms for o in outputs],
        "age": [o.age_ms for o in outputs],
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
