"""Chooses which plan runs: the best one that keeps up, or the last one of the ladder where none does."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace

from derain_ros.runtime.plan.ladder import Plan
from derain_ros.runtime.stages import BatchShape

MARGIN = 0.9
"""Share of the available time within which a plan is taken up. A plan in use may take all of it."""
RETRY_NS, LONGEST_RETRY_NS = 1_000_000_000, 16_000_000_000
"""How long after a plan was given up it is tried again; twice as long, up to the longest, whenever it does not last
that long."""
HOPELESS = 3.0
"""Multiple of the available time above which a plan is not tried: a trial would cost more than a frame."""


@dataclass(frozen=True)
class _Wait:
    """A plan that was given up is not tried before `until_ns`, a wait of `ns`. Since `fits_since_ns` it has fitted
    after its last trial; None where it has not."""

    until_ns: int
    ns: int
    fits_since_ns: int | None = None


class PlanChoice:
    """Chooses among the plans of a ladder for successive frame sets, by the time that their stages take."""

    def __init__(self) -> None:
        self._waits: dict[Hashable, _Wait] = {}
        self._current: Plan | None = None
        self._stalled_until_ns: int | None = None

    def choose(
        self, plans: Sequence[Plan], batches: Collection[BatchShape], limit_ms: float, stall_ms: float, now_ns: int
    ) -> Plan | None:
        """One of `plans`, the best first, for such images, where `limit_ms` are available; `now_ns` is monotonic.

        Where none keeps up the last one runs, as long as it takes no more than `stall_ms`. None means that nothing
        should run now, or the stream would stall. After RETRY_NS the last plan is tried again.
        """
        *better, last = plans
        chosen = next((plan for plan in better if self._fits(plan, batches, limit_ms, now_ns)), None)
        if chosen is None:
            if last.cost_ms(batches) <= stall_ms:
                self._stalled_until_ns = None
            elif self._stalled_until_ns is None:
                self._stalled_until_ns = now_ns + RETRY_NS
                return None
            elif now_ns < self._stalled_until_ns:
                return None
            else:
                self._stalled_until_ns = now_ns + RETRY_NS
                self._forget(last, batches)
            chosen = last
        self._current = chosen
        return chosen

    def _fits(self, plan: Plan, batches: Collection[BatchShape], limit_ms: float, now_ns: int) -> bool:
        """Whether a plan should run. One that should not waits before it is tried again."""
        key = plan.key(batches)
        wait = self._waits.get(key)
        if self._is_at_work(plan):
            fits = plan.cost_ms(batches) <= limit_ms
            if fits and wait is not None and wait.fits_since_ns is None:
                self._waits[key] = replace(wait, fits_since_ns=now_ns)
        elif wait is None:
            fits = plan.cost_ms(batches) <= MARGIN * limit_ms
        elif now_ns < wait.until_ns:
            return False
        else:
            # Its earlier times were measured under another load of the machine.
            self._forget(plan, batches)
            fits = plan.cost_ms(batches) <= HOPELESS * limit_ms
            self._waits[key] = wait = replace(wait, fits_since_ns=None)
        if not fits:
            # The time of the trial itself does not count as time that it lasted.
            lasted = wait is None or wait.fits_since_ns is not None and now_ns - wait.fits_since_ns >= wait.ns
            ns = RETRY_NS if wait is None or lasted else min(2 * wait.ns, LONGEST_RETRY_NS)
            self._waits[key] = _Wait(now_ns + ns, ns)
        return fits

    def _is_at_work(self, plan: Plan) -> bool:
        """Whether a plan ran last, or is the plan that ran last without its later stages."""
        return self._current is not None and self._current.steps[: len(plan.steps)] == plan.steps

    def _forget(self, plan: Plan, batches: Collection[BatchShape]) -> None:
        """Forget the times of a plan's stages, except those that it shares with the plan in use."""
        at_work = self._current.steps if self._current is not None and self._current != plan else ()
        for step in plan.steps:
            if step not in at_work:
                step.forget(batches)
