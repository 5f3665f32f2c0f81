"""The temporal filter: shapes, size, what it starts as, and what its weights mean."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.macs import macs, parameters  # noqa: E402
from derain_ros.nets.temporal import MEMORY, TemporalNet, blend  # noqa: E402
from derain_ros.tasks import TEMPORAL_PLANES  # noqa: E402


def test_shapes_and_size() -> None:
    net = TemporalNet()
    out = net(torch.rand(2, TEMPORAL_PLANES, 12, 20))
    assert out.keep.shape == out.recall.shape == out.smooth.shape == out.mask.shape == (2, 1, 12, 20)
    assert out.memory.shape == (2, MEMORY, 12, 20)
    assert parameters(net) == pytest.approx(25_000, rel=0.02)
    assert macs(net, torch.zeros(1, TEMPORAL_PLANES, 270, 360)) == pytest.approx(0.597e9, rel=0.02)


def test_it_keeps_most_of_the_frame_at_first_and_memory_stays_in_range() -> None:
    torch.manual_seed(0)
    net = TemporalNet()
    planes = torch.rand(1, TEMPORAL_PLANES, 8, 8)
    out = net(planes)
    assert (out.keep > 0.8).all()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    for _ in range(5):
        memory = net(planes).memory
        assert memory.min() >= 0 and memory.max() <= 1
        planes = torch.cat([planes[:, :5], memory], 1)


def test_memory_holds_where_the_gate_is_shut() -> None:
    net = TemporalNet()
    torch.nn.init.zeros_(net.gate.weight)
    torch.nn.init.constant_(net.gate.bias, -30.0)
    planes = torch.rand(1, TEMPORAL_PLANES, 8, 8)
    assert torch.allclose(net(planes).memory, planes[:, 5:], atol=1e-6)


def test_the_blend_takes_what_the_weights_say() -> None:
    frame, restored, previous = (torch.full((1, 1, 8, 8), value) for value in (0.1, 0.5, 0.9))
    for keep, recall, expected in ((1.0, 1.0, 0.1), (0.0, 1.0, 0.9), (0.0, 0.0, 0.5), (0.5, 0.0, 0.3)):
        for smooth in (0.0, 1.0):  # there is no detail to lose
            weights = (torch.full((1, 1, 8, 8), weight) for weight in (keep, recall, smooth))
            assert torch.allclose(blend(*weights, frame, restored, previous), torch.tensor(expected))


def test_what_is_smoothed_keeps_its_level_but_no_detail() -> None:
    torch.manual_seed(0)
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(16, 16)[None, None]
    none, full = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    made_up = blend(none, none, full, none, checks, none)
    assert torch.allclose(made_up, torch.tensor(0.5), atol=1e-6)
    # What is kept of the frame is not smoothed.
    assert torch.equal(blend(full, none, full, checks, none, none), checks)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = TemporalNet()
    torch.nn.init.normal_(net.last.weight, std=0.1)
    out = net(torch.rand(2, TEMPORAL_PLANES, 16, 16))
    sum(part.square().mean() for part in out).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
