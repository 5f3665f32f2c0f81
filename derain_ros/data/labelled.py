"""Street scenes of CamVid and Cityscapes with a label for every pixel, and folders of images without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from derain_ros.data.samples import DataError, image_files, read_rgb
from derain_ros.data.splits import SCENE_SPLITS, scene_split
from derain_ros.runtime.labels import VOID

CAMVID = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""Classes of CamVid in order of their ids; 11 stands for void in the files."""
CITYSCAPES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""Classes of Cityscapes in order of their train ids."""
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The value of each train id in the files *_labelIds.png of Cityscapes."""
LAYOUTS = """\
  {train,val}/image/NAME beside label/NAME.png  CamVid, label ids 0 to 10, 11 is void; also below a folder camvid
  leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png beside gtFine/{train,val}/CITY/NAME_gtFine_labelTrainIds.png or
    NAME_gtFine_labelIds.png  Cityscapes; also below a folder cityscapes
  NAME.jpg, NAME.jpeg or NAME.png directly in the folder  images without labels, where none are needed"""
"""The supported layouts, as error messages show them."""

_CAMVID_IDS = np.full(256, VOID, np.uint8)
_CAMVID_IDS[: len(CAMVID)] = np.arange(len(CAMVID))
_TRAIN_IDS = np.full(256, VOID, np.uint8)
_TRAIN_IDS[: len(CITYSCAPES)] = np.arange(len(CITYSCAPES))
_FULL_IDS = np.full(256, VOID, np.uint8)
_FULL_IDS[list(LABEL_IDS)] = np.arange(len(CITYSCAPES))


@dataclass(frozen=True)
class LabelledScene:
    """Paths of a scene and its labels; `classes` is CAMVID, CITYSCAPES, or empty if there is no label file."""

    image: Path
    label: Path | None
    classes: tuple[str, ...] = ()

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The image (H, W, 3) uint8 RGB and its labels (H, W) uint8: indices into `classes`, VOID elsewhere.

        Without a label file all labels are VOID. DataError if a file cannot be read, the two differ in size, or the
        labels are not ids of the layout.
        """
        image = read_rgb(self.image)
        if self.label is None:
            return image, np.full(image.shape[:2], VOID, np.uint8)
        label = cv2.imread(str(self.label), cv2.IMREAD_UNCHANGED)
        if label is None:
            raise DataError(f"{self.label}: cannot be read as an image")
        if label.ndim != 2 or label.dtype != np.uint8:
            raise DataError(f"{self.label}: label ids are expected, 8 bits and one channel, not a picture in colours")
        if label.shape != image.shape[:2]:
            raise DataError(
                f"{self.image} and {self.label} differ in size: {image.shape[:2]} and {label.shape}; labels are for "
                "images at their full size"
            )
        largest, ids = self._ids(self.label)
        unknown = label[(label > largest) & (label != VOID)]
        if unknown.size:
            raise DataError(f"{self.label}: has the label id {unknown[0]}; its layout knows 0 to {largest}, and {VOID}")
        return image, ids[label]

    def _ids(self, label: Path) -> tuple[int, np.ndarray]:
        """The largest value in a label file but VOID, and a table (256,) uint8 from value to class index or VOID."""
        if self.classes == CAMVID:
            return len(CAMVID), _CAMVID_IDS
        if label.stem.endswith("_labelTrainIds"):
            return len(CITYSCAPES) - 1, _TRAIN_IDS
        return LABEL_IDS[-1], _FULL_IDS


def labelled_scenes(root: Path, split: str) -> list[LabelledScene]:
    """The labelled scenes at `root` for the split `train`, `validation` or `test`, in order of name.

    `root` is a folder of CamVid or Cityscapes, or a data folder that contains `camvid` or `cityscapes`.
    `splits.scene_split` decides what is held out. DataError if `root` has none of these layouts, an image has no
    labels, or the scenes are too few to be divided.
    """
    if split not in SCENE_SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SCENE_SPLITS)}")
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder")
    part = "train" if split == "train" else "val"
    for folder in (root, root / "camvid"):
        if (folder / part / "image").is_dir():
            return _divided(_camvid(folder / part), split, lambda scene: scene.image.name.split("_")[0])
    for folder in (root, root / "cityscapes"):
        if (folder / "leftImg8bit" / part).is_dir():
            return _divided(_cityscapes(folder, part), split, lambda scene: scene.image.parent.name)
    raise DataError(f"{root}: holds no street scenes for {split} in a known layout. Looked for:\n{LAYOUTS}")


def street_scenes(root: Path, split: str) -> list[LabelledScene]:
    """As `labelled_scenes`; for a folder with images directly in it, all of them in order of name, without labels.

    DataError if `root` is neither.
    """
    try:
        return labelled_scenes(root, split)
    except DataError as error:
        try:
            images = image_files(root)
        except DataError:
            raise error from None
        return [LabelledScene(path, None) for path in images]


def _divided(scenes: Sequence[LabelledScene], split: str, drive: Callable[[LabelledScene], str]) -> list[LabelledScene]:
    found = scene_split(scenes, split, drive)
    if not found:
        raise DataError(f"{scenes[0].image.parent}: {len(scenes)} scene cannot be divided; none is left for {split}")
    return found


def _camvid(part: Path) -> list[LabelledScene]:
    return [
        LabelledScene(path, _label(path, [part / "label" / f"{path.stem}.png"]), CAMVID)
        for path in image_files(part / "image")
    ]


def _cityscapes(root: Path, part: str) -> list[LabelledScene]:
    images = sorted((root / "leftImg8bit" / part).glob("*/*_leftImg8bit.png"))
    if not images:
        raise DataError(f"{root / 'leftImg8bit' / part}: holds no images CITY/NAME_leftImg8bit.png")
    scenes = []
    for path in images:
        stem = root / "gtFine" / part / path.parent.name / path.stem.removesuffix("_leftImg8bit")
        labels = [stem.with_name(f"{stem.name}_gtFine_{ids}.png") for ids in ("labelTrainIds", "labelIds")]
        scenes.append(LabelledScene(path, _label(path, labels), CITYSCAPES))
    return scenes


def _label(image: Path, candidates: Sequence[Path]) -> Path:
    """The first of the label files that exists; DataError if none does."""
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(f"{image}: has no labels; looked for {' and '.join(map(str, candidates))}")
