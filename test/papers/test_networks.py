from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from derain_ros.bench.speed import measure  # noqa: E402
from derain_ros.papers.networks import PYTORCH, contenders  # noqa: E402
from derain_ros.papers.speed import TimedNetwork  # noqa: E402


def test_networks_run_by_engines_and_operations_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = TimedNetwork("tiny", lambda: torch.nn.Conv2d(3, 3, 3, padding=1), 8)
    told: list[tuple[int, int]] = []
    wanted = contenders(["onnxruntime"], [(12, 16)], [2], 1, print, lambda *n: told.append(n), [tiny])
    cases, failures = measure(wanted, 3, 0)
    assert told == [(1, 1)]
    case = cases[0]
    assert (case.model, case.engine, case.shape) == ("tiny", "onnxruntime", (2, 16, 16))
    assert case.gmac == pytest.approx(16 * 16 * 81 / 1e9)
    if not torch.cuda.is_available():
        assert len(failures) == 1 and failures[0].startswith(f"{PYTORCH}: PyTorch finds no GPU")
