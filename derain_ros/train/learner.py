"""A learner: a network, its optimiser, its data, and what one training step does; `loop` does the rest."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor, nn

from derain_ros.train.recipe import Recipe

Item = TypeVar("Item")


class Learner(ABC):
    """A network, its optimiser and its data: what the loop needs of each kind of training.

    The constructor sets the first weights, random or those of `start_from`; data is read when it is needed.
    """

    task: str
    """The network's task: one of `tasks.TASKS` if it is to run in the node."""
    better: str
    """The figure of `validate` that selects the best checkpoint: larger is better."""
    origin: str = ""
    """The exported model or the training that the first weights come from."""
    data: Sequence[str] = ()
    """Descriptions of the training data, for the card."""
    bar: Progress | None = None
    """The loop's progress bar, on which `shown` shows slow work."""

    def __init__(
        self, fabric: Fabric, recipe: Recipe, net: nn.Module, optimiser: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> None:
        self.fabric, self.recipe = fabric, recipe
        # Convolutions with few channels are fastest in the channels-last layout.
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self.optimiser = optimiser(self.net)
        self.forward, self.stepper = fabric.setup(self.net, self.optimiser)

    @abstractmethod
    def batches(self, first: int) -> Iterable[Any]:
        """Return the batches of the steps from number `first` on; they depend on recipe, data and step alone."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Return the terms of the loss on `batch`, scalars; the loss is their sum."""

    def step(self, batch: Any, rate: float) -> dict[str, Tensor]:
        """Do one step on `batch` at this learning rate; returns `loss` and its terms before the step, scalars."""
        self.set_rate(rate)
        parts = self.losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.stepper.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def follow(self, step: int) -> None:  # noqa: B027  # most have nothing to do
        """Do what follows step number `step`, such as updating a moving average of the weights."""

    @abstractmethod
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Return figures on held-out data, and samples to look at, (3, height, width) in 0..1."""

    def shown(self, items: Sequence[Item], what: str) -> Iterator[Item]:
        """Yield the items one by one, while a bar shows the progress of `what`."""
        if self.bar is None:
            yield from items
            return
        task = self.bar.add_task(what, total=len(items), note="")
        for item in items:
            yield item
            self.bar.advance(task)
        self.bar.remove_task(task)

    def state(self) -> dict[str, Any]:
        """Return all that training changes; without `average`, `net` is what is exported."""
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


class Averaged(Learner):
    """A learner with a moving average of its network's weights, `average`, which is validated and exported."""

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        net: nn.Module,
        optimiser: Callable[[nn.Module], torch.optim.Optimizer],
        decay: float,
    ) -> None:
        super().__init__(fabric, recipe, net, optimiser)
        self.decay = decay
        self.average = fabric.to_device(copy.deepcopy(self.net).requires_grad_(False))

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the weights, faster in the first steps: it must forget the first weights."""
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        for mine, current in zip(self.average.buffers(), self.net.buffers(), strict=True):
            mine.copy_(current)

    def state(self) -> dict[str, Any]:
        """Return all that training changes."""
        return super().state() | {"average": self.average.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        super().load(state)
        self.average.load_state_dict(state["average"])
