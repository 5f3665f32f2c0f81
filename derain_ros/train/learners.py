"""The learners of restorers: supervised, or against a discriminator as in paper 1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from derain_ros.data.layouts import TrainingFolders
from derain_ros.data.samples import image_files
from derain_ros.nets.discriminator import Discriminator
from derain_ros.nets.fast import Restoration
from derain_ros.nets.segmentation import Segmenter
from derain_ros.train import checkpoint
from derain_ros.train.batches import Batch, Batches, Unlabelled, loader, prepare
from derain_ros.train.gan_losses import Features, discrimination, generator_losses
from derain_ros.train.learner import Averaged
from derain_ros.train.losses import mask_loss, restoration_loss
from derain_ros.train.muon import Muon
from derain_ros.train.recipe import RestoreRecipe
from derain_ros.train.segmentation import load_segmenter
from derain_ros.train.sources import sample_source, validation_set
from derain_ros.train.task_losses import semantic_loss
from derain_ros.train.validation import ValidationSet, validate


class Supervised(Averaged):
    """A restorer with a moving average of its weights, which is validated and exported.

    If the recipe names a teacher, its output is a target, too; if it names a segmenter, so are its features of the
    clean image.
    """

    task, better = "restore", "psnr"
    recipe: RestoreRecipe

    def __init__(self, fabric: Fabric, recipe: RestoreRecipe, folders: TrainingFolders, workers: int = 0) -> None:
        torch.manual_seed(recipe.seed)
        net = checkpoint.build(asdict(recipe))
        if recipe.start_from:
            checkpoint.begin_with(net, Path(recipe.start_from))
            # The model that it started from may be replaced by the result.
            self.origin = checkpoint.read(Path(recipe.start_from)).get("exported", "")
        super().__init__(
            fabric,
            recipe,
            net,
            lambda net: Muon(net, recipe.learning_rate) if recipe.optimiser == "muon" else self.adam(net),
            recipe.average,
        )
        self.teacher: nn.Module | None = None
        if recipe.teacher:
            self.teacher = fabric.to_device(checkpoint.load_network(Path(recipe.teacher)).requires_grad_(False))
        self.segmenter: Segmenter | None = None
        if recipe.segmenter:
            self.segmenter = load_segmenter(Path(recipe.segmenter))[0].requires_grad_(False).to(fabric.device)
        self.folders, self.workers = folders, workers
        self.unseen: ValidationSet | None = None

    def adam(self, net: nn.Module) -> torch.optim.AdamW:
        """Return the recipe's AdamW for `net`; it is Adam if the weight decay is 0."""
        return torch.optim.AdamW(
            net.parameters(),
            self.recipe.learning_rate,
            (self.recipe.beta, 0.999),
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )

    def batches(self, first: int) -> Iterable[Batch]:
        """Return the batches of the steps from number `first` on: this process's share of them."""
        recipe, fabric = self.recipe, self.fabric
        unlabelled = Unlabelled(
            [path for folder in recipe.unlabelled for path in image_files(Path(folder))],
            recipe.unlabelled_batch,
            recipe.crop,
            recipe.seed,
        )
        batches = Batches(
            sample_source(self.folders, recipe),
            unlabelled,
            recipe.batch,
            first,
            recipe.steps,
            fabric.global_rank,
            fabric.world_size,
        )
        return (prepare(raw, fabric.device) for raw in loader(batches, self.workers, fabric.device.type == "cuda"))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the restored images against the clean images, the teacher and the segmenter."""
        out = self.restore(batch)
        parts = self.supervision(Restoration(*(image[: len(batch.clean)] for image in out)), batch)
        if self.teacher is not None:
            with torch.no_grad(), self.fabric.autocast():
                goal = self.teacher(torch.cat([batch.wet, batch.unlabelled])).restored.float().clamp(0, 1)
            parts["teacher"] = self.recipe.teacher_weight * (out.restored - goal).abs().mean()
        if self.segmenter is not None:
            with torch.no_grad():
                goal_maps = self.segmenter.maps(batch.clean)
            maps = self.segmenter.maps(out.restored[: len(batch.clean)])
            parts["semantic"] = self.recipe.semantic * semantic_loss(maps, goal_maps)
        return parts

    def restore(self, batch: Batch) -> Restoration:
        """Return the network's output for wet and unlabelled images."""
        wet = torch.cat([batch.wet, batch.unlabelled])
        return Restoration(*self.forward(wet.contiguous(memory_format=torch.channels_last)))

    def supervision(self, out: Restoration, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the restored images against the clean ones."""
        return {"restoration": restoration_loss(out, batch.clean, batch.mask, self.recipe.mask_weight)}

    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return figures of the averaged network on held-out images.

        Samples are rows of a wet, a restored and a clean image.
        """
        if self.unseen is None:
            self.unseen = validation_set(self.folders, self.recipe)
        return validate(self.average, self.unseen)


class Adversarial(Supervised):
    """Training of paper 1: one step of the discriminator on the restored images, then a joint step of G and E."""

    def __init__(
        self,
        fabric: Fabric,
        recipe: RestoreRecipe,
        folders: TrainingFolders,
        workers: int = 0,
        perceptual: Features | None = None,
    ) -> None:
        super().__init__(fabric, recipe, folders, workers)
        self.discriminator = Discriminator(3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.judge_optimiser = self.adam(self.discriminator)
        self.judge, self.judge_stepper = fabric.setup(self.discriminator, self.judge_optimiser)
        self.perceptual = fabric.to_device(perceptual) if isinstance(perceptual, nn.Module) else perceptual

    def supervision(self, out: Restoration, batch: Batch) -> dict[str, Tensor]:
        """Do a step of the discriminator; returns losses (1) to (5) and the mask's."""
        # One pass for both: without normalisation, images have no effect on each other.
        real, restored = self.judge(torch.cat([batch.clean, out.generated.detach()]))[-1].chunk(2)
        self.judge_loss = discrimination(real, restored)
        self.judge_optimiser.zero_grad()
        self.fabric.backward(self.judge_loss)
        self.judge_stepper.step()

        self.discriminator.requires_grad_(False)
        with self.fabric.autocast():
            parts = generator_losses(out, batch.clean, self.discriminator, self.perceptual)
        self.discriminator.requires_grad_(True)
        mask = self.recipe.mask_weight * mask_loss(out.mask.float(), batch.mask)
        return {name: part.float() for name, part in parts.items()} | {"mask": mask}

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """Do one step of each network; `judge` is the discriminator's loss."""
        return super().step(batch, rate) | {"judge": self.judge_loss.detach()}

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of both."""
        super().set_rate(rate)
        for group in self.judge_optimiser.param_groups:
            group["lr"] = rate

    def state(self) -> dict[str, Any]:
        """Return all that training changes, the discriminator included."""
        return super().state() | {
            "discriminator": self.discriminator.state_dict(),
            "judge_optimiser": self.judge_optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        super().load(state)
        self.discriminator.load_state_dict(state["discriminator"])
        self.judge_optimiser.load_state_dict(state["judge_optimiser"])
