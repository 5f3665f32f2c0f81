"""Runs image files through the pipeline, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from derain_ros.files import FileError, read_file
from derain_ros.frame import Action, Frame, FrameSet
from derain_ros.replay.records import ReplayError
from derain_ros.runtime.input.messages import DECODED
from derain_ros.runtime.input.stored import StoredError, decode
from derain_ros.runtime.pipeline import Pipeline

MOST_BYTES = 1 << 29
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass
class StillsAccount:
    """Numbers of images that were restored and found clean, and in `told` what went wrong with the others."""

    restored: int = 0
    clean: int = 0
    told: list[str] = field(default_factory=list)


def files_of(source: Path) -> list[Path]:
    """Return the image files of a folder in order of name, or the one file; ReplayError if there are none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ReplayError(f"{source}: there is no such file or folder")
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ReplayError(f"{source}: contains no images ({', '.join(SUFFIXES)})")
    return files


def restore_files(
    pipeline: Pipeline, files: Sequence[Path], output: Path, masks: bool, progress: Callable[[int, int], None]
) -> StillsAccount:
    """Write the result of a loaded `pipeline` of one camera for each of `files` as PNG into the folder `output`.

    With `masks` it also writes each mask. Images are turned upright as their EXIF says, because the PNG does not state
    an orientation. The account names images that were not restored, and those that could not be read, which are left
    out. Raises ReplayError if `output` cannot be written, two images would be written into one file, or a file beside
    the `files` would be overwritten.
    """
    written = _written(files, output, masks)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReplayError(f"{output}: cannot be made ({error.strerror})") from error
    account = StillsAccount()
    for number, path in enumerate(files):
        progress(number, len(files))
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
        for file, image in zip(written[path], (done.frame.image, done.mask), strict=False):
            packed, data = cv2.imencode(".png", image)
            if not packed:
                raise ReplayError(f"{file}: an image of {image.shape[1]}x{image.shape[0]} is too large for PNG")
            try:
                file.write_bytes(data.tobytes())
            except OSError as error:
                raise ReplayError(f"{file}: cannot be written ({error.strerror})") from error
    progress(len(files), len(files))
    return account


def _written(files: Sequence[Path], output: Path, masks: bool) -> dict[Path, list[Path]]:
    """Return by file its output files: the image, and with `masks` its mask; ReplayError if a file would be lost."""
    written = {path: [output / f"{path.stem}{ending}.png" for ending in ("", "_mask")[: 1 + masks]] for path in files}
    makers: dict[Path, Path] = {}
    for path, targets in written.items():
        for target in targets:
            if target in makers:
                raise ReplayError(
                    f"{path}: this file and {makers[target].name} would both be written to {target.name}; rename one"
                )
            makers[target] = path
    for folder in {path.parent for path in files}:
        if output.is_dir() and output.samefile(folder):
            for target in makers:
                if target.exists():
                    raise ReplayError(f"{target}: would be overwritten; choose another folder for the output")
    return written


def _read(path: Path) -> Frame | str:
    """Read the image in a file as an upright frame, or return in words why that fails."""
    try:
        image = decode(read_file(path, MOST_BYTES), upright=True)
    except (FileError, OSError) as error:
        return f"cannot be read: {error}"
    except StoredError as error:
        return str(error)
    encoding = DECODED.get((1 if image.ndim == 2 else image.shape[2], str(image.dtype)))
    return (
        f"has unsupported pixels: {image.dtype} of shape {image.shape}" if encoding is None else Frame(image, encoding)
    )
