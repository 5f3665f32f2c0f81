"""The plans for a frame set, from best to cheapest."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from derain_ros.config import PLANS
from derain_ros.runtime.loading.loader import Wanted
from derain_ros.runtime.stages import BatchShape, Stage
from derain_ros.runtime.stages.restore import Restore


@dataclass(frozen=True)
class Plan:
    """Stages that run one after another."""

    steps: tuple[Stage, ...]

    @property
    def name(self) -> str:
        """The names of its stages, such as `balanced + temporal`."""
        return " + ".join(step.name for step in self.steps)

    def key(self, batches: Collection[BatchShape]) -> Hashable:
        """What identifies the plan on such images."""
        return self.name, tuple(batches)

    def cost_ms(self, batches: Collection[BatchShape]) -> float:
        """Milliseconds that it takes: the sum over its stages, where a stage whose time is not known counts as 0."""
        return sum(step.cost_ms(batches) for step in self.steps)

    def ready(self, batches: Collection[BatchShape]) -> bool:
        """Whether all its stages can run now."""
        return all(step.ready(batches) for step in self.steps)


def followed(plans: Sequence[Plan], stage: Stage | None) -> list[Plan]:
    """Each of `plans` with `stage`, if there is one, and then without it: it is dropped first where time is short."""
    return [each for plan in plans for each in ((Plan((*plan.steps, stage)), plan) if stage else (plan,))]


class Ladder:
    """The plans made of `restorers` and of the stages that may come `after` them.

    Restorers made for some kinds of anomaly run before a general one, on their rung of PLANS and on better ones. Where
    they serve all that is there, a general one is no plan: in falling rain without drops, trackers find less in its
    images than in the camera's (`derain evaluate matrix`). So it is with one that is not for what else is there, but
    where its rung is asked for or the only one. The last plan then restores nothing. Of two general ones on a rung the
    first is used that takes the images.
    """

    def __init__(self, restorers: Sequence[Restore], after: Sequence[Stage] = ()) -> None:
        self._general = [stage for stage in restorers if not stage.serves]
        self._special = [stage for stage in restorers if stage.serves]
        self._after = after

    def wanted(self, plans: Sequence[Plan], batches: Collection[BatchShape]) -> list[Wanted]:
        """What must be loaded for these plans, the cheapest first, and then for anomalies that may come."""
        stages = [step for plan in reversed(plans) for step in plan.steps]
        general = [stage for stage in self._general if stage.can(batches)]
        stages += sorted(general, key=lambda stage: PLANS.index(stage.rung))[-1:]
        stages += [stage for stage in self._special if stage.can(batches)]
        return list(dict.fromkeys(wanted for stage in stages for wanted in stage.load(batches)))

    def plans(
        self, batches: Collection[BatchShape], kinds: Collection[str], best: str = "auto", every: bool = False
    ) -> list[Plan]:
        """All plans that remove these kinds of anomaly from such images, the best first, loaded or not. None is better
        than the rung `best`, unless there are no others. With `every` each of them restores, whether that helps or not.
        Empty where no restorer takes such images."""
        found: dict[str, Plan] = {}
        served = {kind for stage in self._special if stage.can(batches) for kind in stage.serves}
        all_served = bool(kinds) and set(kinds) <= served
        rungs = {stage.rung: stage for stage in reversed(self._general) if stage.can(batches)}
        allowed = PLANS[PLANS.index(best) :] if best in PLANS else PLANS
        for rung in [rung for rung in allowed if rung in rungs] or [rung for rung in PLANS if rung in rungs][-1:]:
            special = [
                stage
                for stage in self._special
                if stage.serves & set(kinds) and stage.can(batches) and PLANS.index(rung) <= PLANS.index(stage.rung)
            ]
            asked_for = rung == best or len(rungs) == 1
            hurts = not every and not asked_for and bool(kinds) and set(kinds) <= rungs[rung].not_for | served
            general = () if all_served and (special or not every) or hurts else (rungs[rung],)
            joined = () if special or not general else tuple(stage for stage in self._after if stage.can(batches))
            for steps in ((*special, *general, *joined), (*special, *general)):
                found.setdefault(Plan(steps).name, Plan(steps))
        return list(found.values())
