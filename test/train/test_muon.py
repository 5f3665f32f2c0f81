"""Muon: what its steps look like, and that a network learns with it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from derain_ros.train.muon import Muon, orthogonalised


def test_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((16, 72), (72, 16), (24, 24)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape) * torch.logspace(-2, 0, shape[1])))
        assert 0.3 < float(values.median()) < 1.3 and float(values.max()) < 1.3


def test_the_directions_stay_those_of_the_matrix() -> None:
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(8, 8))[0], torch.linalg.qr(torch.randn(8, 8))[0]
    found = orthogonalised(left @ torch.diag(torch.linspace(0.5, 2, 8)) @ right.T)
    inside = left.T @ found @ right
    assert torch.allclose(inside, torch.diag(inside.diagonal()), atol=1e-4)
    assert (inside.diagonal() > 0.5).all()


def test_a_network_with_biases_and_normalisation_learns() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    before = [p.clone() for p in net.parameters()]
    optimiser, images = Muon(net, 0.02), torch.rand(4, 1, 16, 16)
    losses = []
    for _ in range(40):
        loss = (net(images) - (1 - images)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_saved_state_goes_on_alike() -> None:
    torch.manual_seed(0)
    nets = [nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 3)]
    optimisers = [Muon(net, 0.02) for net in nets]
    nets[1].load_state_dict(nets[0].state_dict())

    def step(which: int) -> None:
        optimisers[which].zero_grad()
        nets[which](torch.ones(1, 2, 5, 5)).square().mean().backward()
        optimisers[which].step()

    step(0)
    nets[1].load_state_dict(nets[0].state_dict())
    optimisers[1].load_state_dict(copy.deepcopy(optimisers[0].state_dict()))
    step(0)
    step(1)
    assert torch.equal(nets[0].weight, nets[1].weight) and torch.equal(nets[0].bias, nets[1].bias)


def test_wide_matrices_get_the_same_step_in_half_the_precision() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(128, 288)
    found = orthogonalised(matrix)
    assert found.dtype == torch.float32
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = (left.T @ found @ right.T).diagonal()
    assert float(inside.min()) > 0.5 and float(inside.max()) < 1.3
