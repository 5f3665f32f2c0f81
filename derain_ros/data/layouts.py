"""Folders of pairs in the layouts of their authors, recognised by their contents."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import track

from derain_ros.data.samples import CLEAN_FOLDERS, DataError, Pair, image_files, read_pair
from derain_ros.data.splits import (
    EVERY,
    HELD_OUT_FRAMES,
    PAIR_SPLITS,
    VALIDATION_FOLDERS,
    every_split,
    rain_split,
    time_split,
)

ALL = "all"
"""Every pair of a folder, of all splits: for evaluation on a folder that was never trained on."""
MEMORY = 512 * 2**20
"""Bytes of images that one `PairFiles` keeps in memory; pairs beyond that are read again each time."""
TOLD = 20
"""Largest number of mistakes that one message lists."""
WET, CLEAN = ("rain", "rainy", "wet", "anomaly", "data", "input"), ("clean", "gt", "target", "dry")
"""Names of the two folders in the plain layout."""
LAYOUTS = """\
  raindrop_real/train/{rain,clean}/NAME  the project's own data folder, drops: crops of RobotCar(R) by Porav et al.
  roadscene_rain/train/{rain,clean}/NAME  the same folder, rain: RoadScene with streaks, of NiteDR
  {train,test_a,test_b}/data/N_rain.png beside gt/N_clean.png  drops: Qian et al.
  left/left_STAMP.png beside right/right_STAMP.png  drops: RobotCar(R), Porav et al.: the left lens is wet; the last
    tenth in time is for testing, the tenth before it for validation
  {RainDS_real,RainDS_syn}/{train_set,test_set}/{raindrop,rainstreak,rainstreak_raindrop,gt}  RainDS, whole or a part,
    its parts called train and test, too; of rain its rainstreak alone
  {train,val,test}/WET/NAME beside CLEAN/NAME, or WET and CLEAN directly below  any other; WET is rain, rainy, wet,
    anomaly, data or input, CLEAN is clean, gt, target or dry, and the names are equal but for their endings
  camvid, bsds500, roadscene_rain, msrs  clean photographs, as in the project's own data folder"""
"""The supported layouts, as error messages show them."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairPath:
    """Paths of a pair; `name` is the wet image's folder and file name."""

    name: str
    wet: Path
    clean: Path
    anomaly: str = "drops"

    def read(self) -> Pair:
        """The images and the mask of their differences; DataError if they cannot be read or differ in size."""
        return read_pair(self.wet, self.clean, self.anomaly)


class PairFiles(Sequence[Pair]):
    """Pairs that are read on access, and kept in memory up to MEMORY bytes."""

    def __init__(self, paths: Sequence[PairPath]) -> None:
        self.paths = paths
        self._kept: dict[int, Pair] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]  # no slices
        """The pair at `index`; DataError if it cannot be read."""
        if index in self._kept:
            return self._kept[index]
        pair = self.paths[index].read()
        size = pair.wet.nbytes + pair.clean.nbytes + pair.mask.nbytes
        if self._bytes + size <= MEMORY:
            self._kept[index] = pair
            self._bytes += size
        return pair


def pairs(folder: Path, split: str, anomaly: str = "drops") -> list[PairPath]:
    """The pairs below `folder` of one split: one of `splits.PAIR_SPLITS`, or ALL.

    Empty if the folder has no pairs of this split. `anomaly` is one of ANOMALIES; in the plain layout the folder does
    not tell what its pairs show, so the caller must know.

    DataError if the layout is unknown, or a wet image has no clean one.
    """
    if split not in (*PAIR_SPLITS, ALL):
        raise ValueError(f"split {split!r} is none of {', '.join(PAIR_SPLITS)}, {ALL}")
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    if split == ALL:
        return list(dict.fromkeys(pair for part in PAIR_SPLITS for pair in pairs(folder, part, anomaly)))
    found = _find(folder, split, anomaly)
    if found is None:
        raise DataError(f"{folder}: holds no images in a known layout. Looked for:\n{LAYOUTS}")
    return found


def check(paths: Sequence[PairPath]) -> None:
    """Read all pairs once; DataError names those that cannot be read or differ in size, before hours of training."""
    wrong = []
    for path in track(paths, "checking pairs", transient=True):
        try:
            path.read()
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        more = f"\nand {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        raise DataError(f"{len(wrong)} of {len(paths)} pairs cannot be used:\n" + "\n".join(wrong[:TOLD]) + more)


@dataclass(frozen=True)
class TrainingFolders:
    """The contents of several data folders: pairs and clean photographs, both for training and for validation."""

    train: list[PairPath]
    validation: list[PairPath]
    photographs: list[Path]
    validation_photographs: list[Path]

    @classmethod
    def find(cls, folders: Sequence[Path], anomaly: str = "drops") -> TrainingFolders:
        """Search `folders`; DataError if one holds neither pairs nor photographs in a known layout.

        If a folder has no photographs of its own, the clean images of its pairs are used. Photographs that are the
        clean images of held-out pairs are left out. `anomaly` is one of ANOMALIES.
        """
        all_parts = cls([], [], [], [])
        for folder in folders:
            clean, clean_validation = (_images_below(folder, names) for names in (CLEAN_FOLDERS, VALIDATION_FOLDERS))
            train = pairs(folder, "train", anomaly) if not clean else _find(folder, "train", anomaly) or []
            validation, test = (_find(folder, split, anomaly) or [] for split in ("validation", "test"))
            held_out = {pair.clean for pair in (*validation, *test)}
            clean = [path for path in clean if path not in held_out]
            if not clean_validation and not validation:
                clean, clean_validation = [p for n, p in enumerate(clean) if n % EVERY], clean[::EVERY]
            all_parts.train.extend(train)
            all_parts.validation.extend(validation)
            all_parts.photographs.extend(clean or sorted({pair.clean for pair in train}))
            all_parts.validation_photographs.extend(clean_validation or sorted({pair.clean for pair in validation}))
        return all_parts

    def described(self) -> list[str]:
        """Lines for the user: how many pairs and photographs for training each folder gives."""
        given = [
            (kind, "/".join(path.parts[-4:-1]))
            for kind, paths in (("pairs", [pair.wet for pair in self.train]), ("photographs", self.photographs))
            for path in paths
        ]
        return [f"{count} {kind} in {folder}" for (kind, folder), count in Counter(given).items()]

    @property
    def are_ours(self) -> bool:
        """Whether validation pairs are from the project's own data folder: by their frame's name or their folder."""
        return any(
            pair.wet.name.startswith(HELD_OUT_FRAMES) or "roadscene_rain" in pair.wet.parts for pair in self.validation
        )


def _images_below(folder: Path, names: Sequence[str]) -> list[Path]:
    return [path for name in names if (folder / name).is_dir() for path in image_files(folder / name)]


def _find(folder: Path, split: str, anomaly: str) -> list[PairPath] | None:
    """The pairs of one split; None if the layout is unknown."""
    layouts = (
        (_project_rain, _rainds_rain, _plain) if anomaly == "rain" else (_project, _rainds, _qian, _robotcar, _plain)
    )
    for layout in layouts:
        found = layout(folder, split)
        if found is not None:
            return [replace(pair, anomaly=anomaly) for pair in found]
    return None


def _project_rain(folder: Path, split: str) -> list[PairPath] | None:
    root = folder / "roadscene_rain/train"
    if not root.is_dir():
        return None
    return rain_split(list(_match(root / "rain", root / "clean")), split)


def _rainds_rain(folder: Path, split: str) -> list[PairPath] | None:
    found = _rainds(folder, split)
    return None if found is None else [pair for pair in found if pair.wet.parent.name == "rainstreak"]


def _project(folder: Path, split: str) -> list[PairPath] | None:
    root = folder / "raindrop_real/train"
    if not root.is_dir():
        return None
    found = list(_match(root / "rain", root / "clean"))
    if not any(pair.wet.name.startswith(HELD_OUT_FRAMES) for pair in found):  # the user's own pairs
        return _undivided(found, split)
    held_out = split in ("validation", "test")
    return [p for p in found if split != "test_b" and p.wet.name.startswith(HELD_OUT_FRAMES) == held_out]


def _qian(folder: Path, split: str) -> list[PairPath] | None:
    wet, clean = folder / "train/data", folder / "train/gt"
    if not wet.is_dir() or not clean.is_dir() or not image_files(wet)[0].stem.endswith("_rain"):
        return None
    root = folder / {"test": "test_a", "test_b": "test_b"}.get(split, "train")
    found = (
        []
        if not root.is_dir()
        else list(_match(root / "data", root / "gt", lambda stem: stem.removesuffix("_rain") + "_clean"))
    )
    return found if split.startswith("test") else _undivided(found, split)


def _robotcar(folder: Path, split: str) -> list[PairPath] | None:
    wet, clean = folder / "left", folder / "right"
    if not wet.is_dir() or not clean.is_dir() or not image_files(wet)[0].stem.startswith("left_"):
        return None
    found = list(_match(wet, clean, lambda stem: "right_" + stem.removeprefix("left_")))
    return time_split(found, split)


def _rainds(folder: Path, split: str) -> list[PairPath] | None:
    kinds = {"raindrop": "rd-", "rainstreak": "rain-", "rainstreak_raindrop": "rd-rain-"}
    # In the published archive the parts of the synthetic half have other names than those of the real half.
    roots = [
        root
        for half in ("", "RainDS_real", "RainDS_syn", "RainDS/RainDS_real", "RainDS/RainDS_syn")
        for part in ("train", "test")
        for root in (folder / half / f"{part}_set", folder / half / part)
        if (root / "gt").is_dir() and any((root / kind).is_dir() for kind in kinds)
    ]
    if not roots:
        return None
    part = "test" if split.startswith("test") else "train"
    found: list[PairPath] = []
    for root in (root for root in roots if root.name.startswith(part)):
        for kind, mark in kinds.items():

            def clean_stem(stem: str, mark: str = mark) -> str:
                return stem.replace(mark, "norain-", 1)

            if (root / kind).is_dir():
                # Synthetic images are named rd-5, rain-5, rd-rain-5 or pie-rd-5 beside norain-5 or pie-norain-5; real
                # ones have the same number in every folder.
                found += _match(root / kind, root / "gt", clean_stem, lenient=True)
    if split.startswith("test"):
        return [] if split == "test_b" else found
    return _undivided(found, split)


def _plain(folder: Path, split: str) -> list[PairPath] | None:
    direct = _sides(folder)
    if direct is not None:
        return _undivided(list(_match(*direct)), split)
    parts = [part for part in ("train", "val", "test") if _sides(folder / part) is not None]
    if not parts:
        return None
    own_validation = "val" in parts
    part = "val" if split == "validation" and own_validation else split.replace("validation", "train")
    sides = _sides(folder / part)
    found = [] if sides is None else list(_match(*sides))
    return found if own_validation or split.startswith("test") else _undivided(found, split)


def _sides(root: Path) -> tuple[Path, Path] | None:
    """The wet and the clean folder below `root`."""
    wet = [root / name for name in WET if (root / name).is_dir()]
    clean = [root / name for name in CLEAN if (root / name).is_dir()]
    return (wet[0], clean[0]) if wet and clean else None


def _undivided(found: Sequence[PairPath], split: str) -> list[PairPath]:
    return every_split(found, split, lambda pair: pair.clean)


def _match(
    wet: Path, clean: Path, clean_stem: Callable[[str], str] = lambda stem: stem, lenient: bool = False
) -> Iterator[PairPath]:
    """Every image of `wet` with its counterpart in `clean`, whose stem is `clean_stem` of the wet image's stem.

    DataError if an image has no counterpart; if `lenient`, it is left out and logged, as published sets have such
    images.
    """
    there = {path.stem: path for path in image_files(clean)}
    for path in image_files(wet):
        stem = clean_stem(path.stem)
        if stem not in there:
            told = f"{path}: its clean image {stem} is not in {clean}"
            if not lenient:
                raise DataError(told)
            log.warning("left out: %s", told)
            continue
        yield PairPath(f"{wet.name}/{path.name}", path, there[stem])
