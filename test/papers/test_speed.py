"""Timing: what is counted and how often is run, on small frames; and that all candidates are what they are named."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch import nn  # noqa: E402

from derain_ros.nets.fast import FastRestorer  # noqa: E402
from derain_ros.nets.macs import parameters  # noqa: E402
from derain_ros.papers import speed  # noqa: E402


def test_measures_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = (
        speed.TimedNetwork("one", lambda: nn.Conv2d(3, 3, 3, padding=1)),
        speed.TimedNetwork("two", lambda: FastRestorer(3, 16, 1), 32),
    )
    runs: list[int] = []

    class Session(speed.onnxruntime.InferenceSession):  # type: ignore[misc,name-defined]
        def run(self, *arguments: object) -> object:
            runs.append(id(self))
            return super().run(*arguments)

    monkeypatch.setattr(speed.onnxruntime, "InferenceSession", Session)
    one, two = speed.measure(candidates, repeats=3, warm_up=2, threads=1, height=40, width=60)
    # The export's check runs each once; then they take turns.
    assert len(runs) == 2 + 5 * 2 and runs[2:] == runs[2:4] * 5 and runs[2] != runs[3]
    assert (one.name, one.height, one.width) == ("one", 40, 60)
    assert (two.name, two.height, two.width) == ("two", 64, 64)
    assert one.parameters == 84 and one.macs == 81 * 40 * 60
    assert two.parameters == parameters(FastRestorer(3, 16, 1)) and two.macs > 0
    for measured in (one, two):
        assert len(measured.milliseconds) == 3 and min(measured.milliseconds) > 0
        assert measured.quantile(0.1) <= measured.quantile(0.5) <= measured.quantile(0.9)


@pytest.mark.parametrize("candidate", speed.CANDIDATES, ids=lambda c: c.name)
def test_strides_fit(candidate: speed.TimedNetwork) -> None:
    side = -(-36 // candidate.stride) * candidate.stride
    with torch.device("meta"):
        net = candidate.make().eval()
        out = net(torch.empty(1, 3, side, side))
    assert (out if isinstance(out, torch.Tensor) else out.restored).shape == (1, 3, side, side)
