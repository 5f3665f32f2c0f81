"""Image files through the pipeline, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from derain_ros.files import FileError, read_file
from derain_ros.frame import Action, Frame, FrameSet
from derain_ros.replay.records import ReplayError
from derain_ros.runtime.input.messages import DECODED, is_cut
from derain_ros.runtime.pipeline import Pipeline

MOST_BYTES = 1 << 29
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass
class StillsAccount:
    """How many images were restored and found clean, and in words what went wrong with the others."""

    restored: int = 0
    clean: int = 0
    told: list[str] = field(default_factory=list)


def files_of(source: Path) -> list[Path]:
    """The image files of a folder in order of name, or the one file; ReplayError where there are none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ReplayError(f"{source}: there is no such file or folder")
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ReplayError(f"{source}: holds no images ({', '.join(SUFFIXES)})")
    names = [path.stem for path in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ReplayError(f"{source}: {twice[0]} is there with two endings, and both would be written as "
                          f"{twice[0]}.png; rename one")
    return files


def restore_files(pipeline: Pipeline, files: Sequence[Path], output: Path, masks: bool,
                  progress: Callable[[int, int], None]) -> StillsAccount:
    """Write each of `files`, restored by a loaded `pipeline` of one camera, as PNG into the folder `output`.

    What cannot be read is told in the account and left out; ReplayError where `output` cannot be written, or a file
    would be written onto itself.
    """
    output.mkdir(parents=True, exist_ok=True)
    account = StillsAccount()
    for number, path in enumerate(files):
        progress(number, len(files))
        target = output / f"{path.stem}.png"
        if target.resolve() == path.resolve():
            raise ReplayError(f"{path}: would be overwritten; choose another folder for the output")
        frame = _read(path)
        if isinstance(frame, str):
            account.told.append(f"{path}: {frame}")
            continue
        camera = pipeline.config.cameras[0]
        result = pipeline.process(FrameSet({camera: frame}))
        done = result.cameras[camera]
        account.restored += done.action is Action.RESTORED
        account.clean += done.action is Action.PASSED_CLEAN
        if done.action not in (Action.RESTORED, Action.PASSED_CLEAN):
            account.told.append(f"{path}: not restored: {result.detail}")
        for file, image in [(target, done.frame.image)] + [(output / f"{path.stem}_mask.png", done.mask)] * masks:
            if not cv2.imwrite(str(file), image):
                raise ReplayError(f"{file}: cannot be written")
    progress(len(files), len(files))
    return account


def _read(path: Path) -> Frame | str:
    """The image in a file as a frame, or in words why it is none."""
    try:
        data = read_file(path, MOST_BYTES)
    except (FileError, OSError) as error:
        return f"cannot be read: {error}"
    if is_cut(data):
        return "is cut off"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:  # a header that tells of more pixels than OpenCV takes
        image = None
    if image is None:
        return "cannot be read as an image"
    encoding = DECODED.get((1 if image.ndim == 2 else image.shape[2], str(image.dtype)))
    return f"holds {image.dtype} of shape {image.shape}" if encoding is None else Frame(image, encoding)
