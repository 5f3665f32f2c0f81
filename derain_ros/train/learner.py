"""A learner: a network, its optimiser and its data, and what one step of its training does; `loop` does the rest."""

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
    """A network, its optimiser, its data: what the loop asks of each kind of training.

    A learner that is built has its first weights, drawn or those of `start_from`; data is read when it is asked for.
    """

    task: str
    """What the network is for: of `tasks.TASKS`, where it is to run in the node."""
    better: str
    """The figure of `validate` by which the best checkpoint is told: the larger, the better."""
    origin: str = ""
    """The exported model or training that the weights began with."""
    data: Sequence[str] = ()
    """What is trained on, for the card."""
    bar: Progress | None = None
    """The loop's, on which `shown` shows what takes long."""

    def __init__(
        self, fabric: Fabric, recipe: Recipe, net: nn.Module, optimiser: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> None:
        self.fabric, self.recipe = fabric, recipe
        # Convolutions of few channels are fastest on channels that lie side by side.
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self.optimiser = optimiser(self.net)
        self.forward, self.stepper = fabric.setup(self.net, self.optimiser)

    @abstractmethod
    def batches(self, first: int) -> Iterable[Any]:
        """What the steps from number `first` on are made with: a function of recipe, data and step alone."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The parts of the loss on `batch`, scalars; the loss is their sum."""

    def step(self, batch: Any, rate: float) -> dict[str, Tensor]:
        """One step on `batch` at this learning rate; the losses before it, `loss` and its parts, scalars."""
        self.set_rate(rate)
        parts = self.losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.stepper.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def set_rate(self, rate: float) -> None:
        """Learn at this rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def follow(self, step: int) -> None:  # noqa: B027  # most have nothing to do
        """What is to be done after step number `step`, such as moving an average of the weights."""

    @abstractmethod
    def validate(self) -> tuple[dict[str, float], Tensor | None]:
        """Figures on data never trained on, and samples to look at, (3, height, width) in 0..1."""

    def shown(self, items: Sequence[Item], what: str) -> Iterator[Item]:
        """The items one by one, while a bar shows how far `what` is."""
        if self.bar is None:
            yield from items
            return
        task = self.bar.add_task(what, total=len(items), note="")
        for item in items:
            yield item
            self.bar.advance(task)
        self.bar.remove_task(task)

    def state(self) -> dict[str, Any]:
        """All that learning changes; `net` is what is exported where there is no `average`."""
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


class Averaged(Learner):
    """A learner whose network has a moving average of its weights, `average`, which is validated and exported."""

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
        """Move the average towards the weights, in earnest at first: it must forget those it began with."""
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        for mine, current in zip(self.average.buffers(), self.net.buffers(), strict=True):
            mine.copy_(current)

    def state(self) -> dict[str, Any]:
        """All that learning changes."""
        return super().state() | {"average": self.average.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        super().load(state)
        self.average.load_state_dict(state["average"])
