"""What one step of training does to the networks: plainly supervised, or against a discriminator as in paper 1."""

from __future__ import annotations

import copy
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from derain_ros.nets.discriminator import Discriminator
from derain_ros.nets.fast import Restoration
from derain_ros.train.batches import Batch
from derain_ros.train.gan_losses import Features, discrimination, generator_losses
from derain_ros.train.losses import mask_loss, restoration_loss
from derain_ros.train.muon import Muon
from derain_ros.train.recipe import RestoreRecipe


class Supervised:
    """A restorer, the moving average of its weights and its optimiser; `step` after `step` it learns.

    `teacher`, where there is one, is a network in evaluation mode whose output is a goal as well.
    """

    def __init__(self, fabric: Fabric, recipe: RestoreRecipe, net: nn.Module, teacher: nn.Module | None) -> None:
        self.fabric, self.recipe = fabric, recipe
        # Convolutions of few channels are fastest on channels that lie side by side.
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self.average = fabric.to_device(copy.deepcopy(self.net).requires_grad_(False))
        self.optimiser = (Muon(self.net, recipe.learning_rate) if recipe.optimiser == "muon"
                          else self.adam(self.net))
        self.teacher = None if teacher is None else fabric.to_device(teacher.requires_grad_(False))
        self.forward, self.stepper = fabric.setup(self.net, self.optimiser)

    def adam(self, net: nn.Module) -> torch.optim.AdamW:
        """The optimiser of the recipe for `net`; Adam where nothing decays."""
        return torch.optim.AdamW(net.parameters(), self.recipe.learning_rate, (self.recipe.beta, 0.999),
                                 weight_decay=self.recipe.weight_decay, fused=True)

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """One step on `batch` at this learning rate; the losses before it, `loss` and its parts, scalars."""
        self.set_rate(rate)
        out = self.restore(batch)
        clean_known = Restoration(*(image[:len(batch.clean)] for image in out))
        parts = self.losses(clean_known, batch)
        if self.teacher is not None:
            with torch.no_grad(), self.fabric.autocast():
                goal = self.teacher(torch.cat([batch.wet, batch.unlabelled])).restored.float().clamp(0, 1)
            parts["teacher"] = self.recipe.teacher_weight * (out.restored - goal).abs().mean()
        loss = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.stepper.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def restore(self, batch: Batch) -> Restoration:
        """The network's output for wet and unlabelled images, float32."""
        wet = torch.cat([batch.wet, batch.unlabelled])
        return Restoration(*self.forward(wet.contiguous(memory_format=torch.channels_last)))

    def losses(self, out: Restoration, batch: Batch) -> dict[str, Tensor]:
        """What the clean images say to the restored ones; the loss is their sum."""
        return {"restoration": restoration_loss(out, batch.clean, batch.mask, self.recipe.mask_weight)}

    def set_rate(self, rate: float) -> None:
        """Learn at this rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the weights, in earnest at first: it must forget those it began with."""
        decay = min(self.recipe.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        for mine, current in zip(self.average.buffers(), self.net.buffers(), strict=True):
            mine.copy_(current)

    def state(self) -> dict[str, Any]:
        """All that learning changes."""
        return {"net": self.net.state_dict(), "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in self.state():
            getattr(self, name).load_state_dict(state[name])


class Adversarial(Supervised):
    """Paper 1's training: a step of the discriminator on what was just restored, then one joint step of G and E."""

    def __init__(self, fabric: Fabric, recipe: RestoreRecipe, net: nn.Module, teacher: nn.Module | None,
                 perceptual: Features | None) -> None:
        super().__init__(fabric, recipe, net, teacher)
        self.discriminator = Discriminator(3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.judge_optimiser = self.adam(self.discriminator)
        self.judge, self.judge_stepper = fabric.setup(self.discriminator, self.judge_optimiser)
        self.perceptual = fabric.to_device(perceptual) if isinstance(perceptual, nn.Module) else perceptual

    def losses(self, out: Restoration, batch: Batch) -> dict[str, Tensor]:
        """Losses (1) to (5) and the mask's, after a step of the discriminator."""
        # One pass for both: it has no normalisation, so that images do not see each other.
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
        """One step of each network; the discriminator's loss is `judge`."""
        return super().step(batch, rate) | {"judge": self.judge_loss.detach()}

    def set_rate(self, rate: float) -> None:
        """Both learn at this rate from now on."""
        super().set_rate(rate)
        for group in self.judge_optimiser.param_groups:
            group["lr"] = rate

    def state(self) -> dict[str, Any]:
        """All that learning changes, the discriminator too."""
        return super().state() | {"discriminator": self.discriminator.state_dict(),
                                  "judge_optimiser": self.judge_optimiser.state_dict()}
