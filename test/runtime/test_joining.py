"""Joining in the pipeline: which networks, what it takes, and that no failure costs a restoration."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from derain_ros.engine import EngineError
from derain_ros.frame import Frame
from derain_ros.runtime.dispatch import Choice
from derain_ros.runtime.joining import SHARES, Joiner
from derain_ros.runtime.plan.budget import RETRY_NS
from derain_ros.runtime.stages.restore import Batch, Restored


class Network:
    """Recalls all; fails when told to."""

    name, device, streams, precision = "fake", "nowhere", 1, "fp32"
    model = SimpleNamespace(name="temporal")

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.runs = error, 0

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.runs += 1
        if self.error is not None:
            raise self.error
        weights = np.zeros((*image.shape[:3], 3), np.uint8)
        weights[..., 1] = 255
        return {"weights": weights, "mask": image[..., 3], "memory": image[..., 5:]}


class Preparation:
    """A network that is ready, or not yet; and a slower one."""

    failed, state = False, "ready: it is"

    def __init__(self, shape: tuple[int, int, int], engine: Network | None, slower: Network | None = None) -> None:
        self.shape, self.engine, self.ready, self._slower = shape, engine, engine is not None, slower

    def retire(self, error: EngineError) -> None:
        self.engine = self._slower if self._slower is not None else self.engine
        self._slower = None

    def wait(self, timeout_s: float | None = None) -> bool:
        return self.ready


def frames(count: int, value: int, stamp_ms: int, encoding: str = "mono8", bits: int = 0) -> list[Frame]:
    return [Frame(np.full((40, 48), value, np.uint8), encoding, stamp_ms * 1_000_000, bits=bits) for _ in range(count)]


def join(joiner: Joiner, value: int, stamp_ms: int, encoding: str = "mono8", bits: int = 0) -> tuple[int, str, bool]:
    """The grey value that comes of frames that were restored to `value`, the failure, and whether there was a past."""
    shape: Batch = (2, 40, 48, 1)
    given = frames(2, 99, stamp_ms, encoding, bits)
    joining = joiner.joining(["left", "right"], given, joiner.of([shape]), time.monotonic_ns)
    batch = Restored([0, 1], np.full(shape, 99, np.uint8), np.full(shape, value, np.uint8),
                     np.zeros(shape[:3], np.uint8))
    (pairs,) = joining([batch])
    assert joining.ms > 0
    return int(pairs[0][0][20, 24, 0]), joining.failure, joining.had_past


def ready(*networks: Network) -> Joiner:
    joiner = Joiner(lambda shape: Preparation(shape, *networks))  # type: ignore[arg-type, return-value]
    joiner.tend([(2, 40, 48, 1)], wait=False)
    return joiner


def test_networks_are_loaded_one_after_another_and_given_for_all_batches_or_none() -> None:
    made: list[Preparation] = []

    def prepare(shape: tuple[int, int, int]) -> Preparation:
        made.append(Preparation(shape, None))
        return made[-1]

    joiner = Joiner(prepare)  # type: ignore[arg-type]
    grey, colour, large = (2, 40, 48, 1), (2, 40, 48, 3), (1, 80, 96, 1)
    for _ in range(2):
        joiner.tend([grey, large], wait=False)
        assert [p.shape for p in made] == [(2, 20, 24)] and joiner.of([grey]) == {}
    assert joiner.state == "temporal: ready: it is" and not joiner.close(0.0)
    network = Network()
    made[0].engine, made[0].ready = network, True  # type: ignore[assignment]
    assert joiner.state == ""
    assert joiner.of([grey, colour]) == {grey: network, colour: network}  # one network for grey and colour
    assert joiner.of([grey, large]) == {}
    joiner.tend([grey, large], wait=False)
    assert [p.shape for p in made] == [(2, 20, 24), (1, 40, 48)] and joiner.engines == [network]
    made[1].ready = True
    joiner.tend([(1, 60, 60, 1)], wait=False)
    assert joiner.of([grey]) == {}  # Nobody asked for it any more.


def choice(key: str, plan: str = "balanced", alone: str | None = None) -> Choice:
    return Choice(plan, key, {}, alone=alone)


def test_what_it_takes_is_learned_as_a_share() -> None:
    joiner = ready(Network())
    assert not joiner.fits(choice("unknown"), 0.0, 100.0, 0)
    for plan, share in SHARES.items():
        assert joiner.fits(choice(plan, plan), 20.0, 20 * (1 + share) + 0.1, 0)
        assert not joiner.fits(choice(f"another {plan}", plan), 20.0, 20 * (1 + share) - 0.1, 0)
    joiner.learn(choice("joined", alone="plan"), 20.0, 10.0)
    for _ in range(40):
        joiner.learn(choice("joined", alone="plan"), 20.0, 30.0)
    assert joiner.fits(choice("plan"), 10.0, 25.1, 0) and not joiner.fits(choice("plan"), 10.0, 24.9, 0)


def test_what_did_not_fit_is_tried_again_after_a_while_and_with_a_margin() -> None:
    joiner = ready(Network())
    joiner.learn(choice("joined", alone="plan"), 20.0, 10.0)
    fits = [joiner.fits(choice("plan"), 20.0 * load, 40.0, round(waits * RETRY_NS)) for waits, load in (
        (0, 1.0), (0.1, 2.0), (0.2, 1.0), (1, 1.0), (2, 1.3), (2.1, 1.0), (3, 1.3))]
    assert fits == [True, False, False, False, False, True, True]
    assert joiner.fits(choice("other"), 10.0, 40.0, 1)


def test_the_last_output_is_joined_and_a_frame_of_another_kind_is_not() -> None:
    joiner = ready(Network())
    assert join(joiner, 50, 0) == (50, "", False)
    assert join(joiner, 80, 50) == (50, "", True)
    assert join(joiner, 80, 100, "8UC1") == (80, "", False)
    assert join(joiner, 90, 150, "8UC1", bits=12) == (90, "", False)


def test_a_failing_network_is_replaced_once_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    first, slower = (Network(EngineError(f"{name} is broken")) for name in ("temporal", "the slower one"))
    joiner = ready(first, slower)
    assert join(joiner, 50, 0) == (50, "not joined with the frames before: temporal is broken", False)
    assert joiner.of([(2, 40, 48, 1)]) == {(2, 40, 48, 1): slower}
    join(joiner, 50, 50)
    assert joiner.of([(2, 40, 48, 1)]) == {} and joiner.state
    assert "temporal is broken" in caplog.text and "the slower one is broken" in caplog.text


def test_whatever_else_goes_wrong_costs_the_past_alone() -> None:
    network = Network()
    joiner = ready(network)
    join(joiner, 50, 0)
    network.error = RuntimeError("")
    assert join(joiner, 60, 50) == (60, "not joined with the frames before: RuntimeError", False)
    network.error = None
    assert join(joiner, 70, 100) == (70, "", False) and join(joiner, 80, 150) == (70, "", True)


def test_what_hangs_is_forgotten_with_its_past() -> None:
    joiner = ready(Network())
    joining = joiner.joining(["left"], frames(1, 9, 0), joiner.of([(2, 40, 48, 1)]), time.monotonic_ns)
    join(joiner, 50, 0)
    joiner.forget()
    assert joiner.engines == [] and joining._temporal is not joiner._filter
    joiner.tend([(2, 40, 48, 1)], wait=True)
    assert join(joiner, 80, 50) == (80, "", False)
