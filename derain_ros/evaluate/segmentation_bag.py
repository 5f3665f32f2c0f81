"""How much rain costs segmentation, and how much restoring regains, on a recorded bag through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from derain_ros.data.rain_sequence import CAMERA, DRY, LABELS, WET
from derain_ros.data.segmentation import confusion, mean_overlap
from derain_ros.engine import Engine
from derain_ros.evaluate.labelled_bag import HOW_TO_MAKE, instants, reference
from derain_ros.evaluate.restoration import EvaluationError
from derain_ros.evaluate.segmentation import Overlap, bootstrap, overlap, segmented_by
from derain_ros.frame import Action
from derain_ros.replay.bag import BagReader
from derain_ros.replay.offline import Progress, replay
from derain_ros.replay.topics import Cameras
from derain_ros.runtime.pipeline import Pipeline

RESTORED, MASK = f"/derained/{CAMERA}/image_raw", f"/derained/{CAMERA}/anomaly_mask"
VIEWS = {"wet": WET, "restored": RESTORED, "dry": DRY}
"""Topics of the views of one instant: what the camera sees, what the pipeline restores, what is seen without rain."""
SHOWN = 2
"""Number of instants of which pictures are kept."""


@dataclass(frozen=True)
class Report:
    """The figures of a segmenter of `classes` on each of VIEWS; `reference` describes the reference in words.

    `masked` is the share, in percent, of correct pixels under the pipeline's masks in each view, NaN if there are none.
    `frames` were evaluated, `restored` of them were restored, and `left_out` could not be evaluated; `plans` lists the
    plans and models. `won_back` is the share, in percent, of the mIoU lost by rain that restoring regained, with its
    bootstrap interval; None if there is no dry view or no significant loss. `told` has the notes of the replay. `shown`
    has, for up to SHOWN instants, each view (H, W, 3) and its labels (H, W), both uint8.
    """

    classes: Sequence[str]
    views: Mapping[str, Overlap]
    masked: Mapping[str, float]
    reference: str
    frames: int
    restored: int
    left_out: int
    plans: str
    won_back: tuple[float, float, float] | None
    told: Sequence[str]
    shown: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]]


def evaluate(
    bag: Path, engine: Engine, pipeline: Pipeline, restoring: Progress | None = None, segmenting: Progress | None = None
) -> Report:
    """Restore the wet images of a bag by a loaded `pipeline` with the one camera CAMERA, and segment all views.

    The reference is the bag's labels, if the segmenter knows all of their classes; else the segmentation of the dry
    images. EvaluationError if the bag has neither, or no complete instant; ReplayError if the bag cannot be read.
    """
    with TemporaryDirectory(prefix="derain") as folder:
        output = Path(folder, "restored")
        with BagReader(bag) as reader:
            ids, told = reference(reader, engine.model.classes)
            account = replay(reader, output, Cameras({CAMERA: reader.topics[WET]}), pipeline, restoring)
        restored = [o.stamp_ns for o in account.outputs if o.action == Action.RESTORED.value]
        shown = set(restored[len(restored) // (2 * SHOWN) :: max(1, len(restored) // SHOWN)][:SHOWN])
        counts, under, done, pictures = _measure(output, engine, ids, account.frames_in[CAMERA], shown, segmenting)
    if not done:
        raise EvaluationError(f"{bag}: has no stamp with all of {', '.join(_needed(ids))}; {HOW_TO_MAKE}")
    names = engine.model.classes
    return Report(
        names,
        {view: overlap(matrices, names) for view, matrices in counts.items()},
        {view: 100 * float(np.trace(total) / total.sum()) if total.any() else np.nan for view, total in under.items()},
        told,
        len(done),
        len(set(restored) & done),
        account.frames_in[CAMERA] - len(done),
        ", ".join(f"{plan} ({models})" for plan, models in account.plans),
        won_back({view: np.stack(matrices) for view, matrices in counts.items()}),
        [note for note in (*account.notes, account.damage) if note],
        pictures,
    )


def won_back(counts: Mapping[str, np.ndarray]) -> tuple[float, float, float] | None:
    """The share of the mIoU lost from dry to wet that restoring regains, and its 95 % interval, in percent.

    `counts` has confusion matrices (frames, classes, classes) of each view. None if there is no dry view, or if the
    95 % interval of the loss reaches 0.
    """
    if "dry" not in counts:
        return None

    def between(view: str) -> Callable[[np.ndarray], float]:
        return lambda chosen: mean_overlap(counts[view][chosen].sum(0)) - mean_overlap(counts["wet"][chosen].sum(0))

    frames = len(counts["wet"])
    lost, gained = (bootstrap(between(view), frames) for view in ("dry", "restored"))
    if np.percentile(lost, 2.5) <= 0:
        return None
    everything = np.arange(frames)
    share = 100 * between("restored")(everything) / between("dry")(everything)
    low, high = np.percentile(100 * gained / np.maximum(lost, 1e-9), [2.5, 97.5])
    return share, float(low), float(high)


def rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table: mIoU, correct pixels and IoU of each class, for each view."""
    views = report.views.values()
    table = [["mIoU, %", *(f"{view.miou:.1f} ({view.low:.1f} to {view.high:.1f})" for view in views)]]
    table.append(["correct pixels, %", *(f"{view.accuracy:.1f}" for view in views)])
    if np.isfinite(list(report.masked.values())).any():
        table.append(["correct under the mask, %", *(f"{value:.1f}" for value in report.masked.values())])
    for name in report.classes:
        values = [view.classes[name] for view in views]
        if np.isfinite(values).any():
            table.append([name, *("-" if np.isnan(value) else f"{value:.1f}" for value in values)])
    return ["", *report.views], table


def notes(report: Report) -> list[str]:
    """The notes on the table, a sentence or two each."""
    told = [
        f"Reference: {report.reference}. Intervals are of 95 %, by bootstrap over frames.",
        f"{report.restored} of {report.frames} frames restored ({100 * report.restored / report.frames:.0f} %)"
        + (f", by {report.plans}." if report.plans else "."),
    ]
    if report.won_back is not None:
        told.append("Of the mIoU lost to rain, {:.0f} % ({:.0f} to {:.0f}) was recovered.".format(*report.won_back))
    elif "dry" in report.views:
        told.append("Rain did not significantly reduce mIoU, so there is no recovered share.")
    else:
        told.append(f"There are no dry images on {DRY}, so the recovered share is not known.")
    if report.left_out:
        told.append(
            f"{report.left_out} frames are left out: images, dry images or labels are missing or cannot be read."
        )
    return [*told, *report.told]


def markdown(report: Report) -> str:
    """The table and the notes in Markdown."""
    header, table = rows(report)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *table)]
    return "\n".join([*lines, "", *notes(report)]) + "\n"


def _needed(ids: np.ndarray | None) -> list[str]:
    """The topics without which an instant cannot be evaluated."""
    return [WET, RESTORED, MASK, DRY if ids is None else LABELS]


def _measure(
    bag: Path, engine: Engine, ids: np.ndarray | None, total: int, shown: set[int], progress: Progress | None
) -> tuple[
    dict[str, list[np.ndarray]], dict[str, np.ndarray], set[int], list[dict[str, tuple[np.ndarray, np.ndarray]]]
]:
    """The figures of a restored bag, over its complete instants.

    Returns the confusion matrices of each view, their sums over pixels under the masks alone, the stamps that were
    measured, and the pictures of the stamps in `shown`.
    """
    segment, classes = segmented_by(engine), len(engine.model.classes)
    counts: dict[str, list[np.ndarray]] = {}
    under: dict[str, np.ndarray] = {}
    done: set[int] = set()
    pictures = []
    with BagReader(bag) as reader:
        dry = [DRY] if DRY in reader.topics else []
        for stamp_ns, images in instants(reader, {*_needed(ids), *dry}):
            views = {view: images[topic] for view, topic in VIEWS.items() if topic in images}
            found: dict[str, np.ndarray] = {}
            for view, image in views.items():
                # Equal views are segmented once: frames that were passed on, and those before the rain.
                same = next((other for other in found if np.array_equal(views[other], image)), None)
                found[view] = segment(image) if same is None else found[same]
            truth = found["dry"] if ids is None else ids[images[LABELS][..., 0]]
            if odd := [view for view in found if found[view].shape != truth.shape]:
                raise EvaluationError(
                    f"{bag}: at {stamp_ns / 1e9:.3f} s the {odd[0]} image differs in size from its reference: "
                    f"{found[odd[0]].shape} and {truth.shape}; {HOW_TO_MAKE}"
                )
            masked = images[MASK][..., 0] > 0
            for view in found:
                counts.setdefault(view, []).append(confusion(truth, found[view], classes))
                under[view] = under.get(view, 0) + confusion(truth[masked], found[view][masked], classes)
            if stamp_ns in shown:
                pictures.append({view: (views[view], found[view]) for view in found})
            done.add(stamp_ns)
            if progress is not None:
                progress(len(done), total)
    return counts, under, done, pictures
