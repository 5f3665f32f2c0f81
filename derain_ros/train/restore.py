"""Training of a restorer on folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric

from derain_ros.data.layouts import TrainingFolders, check
from derain_ros.data.samples import DataError
from derain_ros.train import checkpoint, loop
from derain_ros.train.gan_losses import perceptual_features
from derain_ros.train.learners import Adversarial, Supervised
from derain_ros.train.loop import Machine
from derain_ros.train.recipe import RestoreRecipe


def train(data: Sequence[Path], output: Path, recipe: RestoreRecipe, machine: Machine = Machine()) -> Path:  # noqa: B008
    """Train a restorer on the images below the folders `data`; returns its checkpoint in `output`, see `loop.train`."""
    # Errors are raised before processes are started.
    for trained in filter(None, (recipe.start_from, recipe.teacher)):
        checkpoint.read(Path(trained))
    folders = TrainingFolders.find(data, recipe.anomaly)
    check([*folders.train, *folders.validation])
    return train_on(folders, output, recipe, machine, not (folders.are_ours and len(data) == 1))


def train_on(
    folders: TrainingFolders, output: Path, recipe: RestoreRecipe, machine: Machine, described: bool = False
) -> Path:
    """Train a restorer on the contents of folders; its card describes them if `described`."""
    if recipe.batch % machine.devices or (recipe.unlabelled and recipe.unlabelled_batch % machine.devices):
        raise DataError(
            f"recipe: batch: {recipe.batch} samples, and {recipe.unlabelled_batch} unlabelled ones, cannot "
            f"be shared out among {machine.devices} devices"
        )
    return loop.train(partial(_build, recipe, folders, described), output, machine)


def _build(
    recipe: RestoreRecipe, folders: TrainingFolders, described: bool, fabric: Fabric, workers: int
) -> Supervised:
    learner = (
        Adversarial(fabric, recipe, folders, workers, perceptual_features(recipe.detector))
        if recipe.adversarial
        else Supervised(fabric, recipe, folders, workers)
    )
    learner.data = folders.described() if described else ()
    return learner
