from __future__ import annotations

import numpy as np
import pytest

from derain_ros.bench import BenchError
from derain_ros.bench.speed import Contender, contenders, measure
from derain_ros.engine import EngineError, load
from derain_ros.manifest import Manifest

Shape = tuple[int, int, int]


class Counted:
    """Meters on which every run costs what the engine's images hold: 1 J a grey level of the first pixel."""

    def __init__(self) -> None:
        self.total = 0.0

    def joules(self) -> dict[str, float]:
        return {"processor": self.total}

    def gpu_mb(self) -> float:
        return 10.0


def test_every_model_size_and_batch_is_measured(manifest: Manifest) -> None:
    models = [manifest.get("restore_mono"), manifest.get("detect")]
    wanted = contenders(models, ["onnxruntime"], [(16, 24), (32, 24)], [1, 2], 1, print)
    cases, failures = measure(wanted, 3, 1)
    assert failures == []
    assert {(case.model, case.shape, case.streams) for case in cases} == {
        *(("restore_mono", (1, height, 24), 1) for height in (16, 32)),
        *(("restore_mono", (2, height, 24), streams) for height in (16, 32) for streams in (1, 2)),
        ("detect", (1, 96, 128), 1),
        ("detect", (2, 96, 128), 1),
        ("detect", (2, 96, 128), 2),
    }
    assert len({case.name for case in cases}) == len(cases)
    assert all(len(case.ms) == 3 and min(case.ms) > 0 and case.load_s > 0 for case in cases)


def test_cases_take_turns_and_warm_up_is_left_out(manifest: Manifest) -> None:
    order: list[str] = []
    meters = Counted()

    def contender(name: str) -> Contender:
        engine = load(manifest.get("restore_mono"))
        run = engine.run

        def counted(image: np.ndarray) -> dict[str, np.ndarray]:
            order.append(name)
            meters.total += {"a": 2.0, "b": 5.0}[name]
            return run(image=image)

        engine.run = counted  # type: ignore[method-assign]
        return Contender(lambda: engine, {"image": np.zeros((1, 16, 16, 1), np.uint8)})

    told: list[tuple[int, int]] = []
    cases, _ = measure([contender("a"), contender("b")], 3, 1, turned=lambda *n: told.append(n), meters=meters)  # type: ignore[arg-type]
    assert order == ["a", "b", *"abababab"]
    assert [case.joules["processor"] for case in cases] == [pytest.approx(2.0), pytest.approx(5.0)]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_does_not_load_is_told_and_the_rest_measured(manifest: Manifest) -> None:
    def fail() -> None:
        raise EngineError("tensorrt: no device")

    images = {"image": np.zeros((1, 16, 16, 1), np.uint8)}
    good = Contender(lambda: load(manifest.get("restore_mono")), images)
    bad = Contender(fail, images)  # type: ignore[arg-type]
    cases, failures = measure([bad, good, bad], 3, 0)
    assert len(cases) == 1 and failures == ["tensorrt: no device"]
    with pytest.raises(BenchError, match="nothing can be measured: tensorrt: no device"):
        measure([bad], 3, 0)
