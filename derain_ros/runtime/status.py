"""What ~/status says about a frame set, independent of how its message is made."""

from __future__ import annotations

from dataclasses import dataclass

from derain_ros.frame import Action, Result

OK, WARN = 0, 1
"""Levels of a diagnostic_msgs/DiagnosticStatus."""


@dataclass(frozen=True)
class Status:
    """The fields of one camera's diagnostic_msgs/DiagnosticStatus."""

    level: int
    name: str
    message: str
    hardware_id: str
    values: dict[str, str]


def _times(result: Result) -> dict[str, float]:
    """Milliseconds in total, of detection, of all stages after it, and of fusion where that was done."""
    stages = {stage: ms for stage, ms in result.stage_ms.items() if stage not in ("total", "detect", "fuse")}
    fuse = {"fuse": result.stage_ms["fuse"]} if "fuse" in result.stage_ms else {}
    return {
        "total": result.stage_ms.get("total", 0.0),
        "detect": result.stage_ms.get("detect", 0.0),
        "restore": sum(stages.values()),
        **fuse,
    }


def statuses_of(result: Result) -> list[Status]:
    """What was done with each camera's frame: OK where it was restored or clean, WARN otherwise."""
    statuses = []
    for number, (camera, done) in enumerate(result.cameras.items()):
        anomaly = done.anomaly
        fine = done.action in (Action.RESTORED, Action.PASSED_CLEAN)
        statuses.append(
            Status(
                OK if fine else WARN,
                camera,
                done.action.value,
                done.frame.frame_id,
                {
                    "kind": anomaly.kind if anomaly else "unknown",
                    "score": f"{anomaly.score:.3f}" if anomaly else "nan",
                    "coverage": f"{anomaly.coverage:.4f}" if anomaly else "nan",
                    "severity": f"{anomaly.severity:.3f}" if anomaly else "nan",
                    "alarm": done.alarm.name.lower(),
                    "action": done.action.value,
                    "plan": result.plan,
                    "models": result.models,
                    **{f"{stage}_ms": f"{ms:.2f}" for stage, ms in _times(result).items()},
                    "left_ms": f"{result.left_ms:.2f}",
                    "detail": result.detail,
                    **({"fusion": result.fusion} if result.fusion and not number else {}),
                    **{f"p_{kind}": f"{p:.3f}" for kind, p in (anomaly.probabilities if anomaly else {}).items()},
                },
            )
        )
    return statuses
