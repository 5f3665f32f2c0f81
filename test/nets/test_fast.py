"""The fast restorer: shapes, size, and that it starts as the identity."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.fast import STRIDE, FastRestorer, Restoration, compose  # noqa: E402
from derain_ros.runtime.stages import scale  # noqa: E402


@pytest.mark.parametrize(
    ("channels", "width", "blocks", "millions"),
    [(1, 64, 9, 0.966), (3, 64, 9, 1.040), (1, 32, 6, 0.197), (3, 32, 6, 0.234)],
)
def test_shapes_and_parameters(channels: int, width: int, blocks: int, millions: float) -> None:
    net = FastRestorer(channels, width, blocks)
    out = net(torch.rand(2, channels, 2 * STRIDE, 3 * STRIDE))
    assert out.generated.shape == out.restored.shape == (2, channels, 2 * STRIDE, 3 * STRIDE)
    assert out.mask.shape == (2, 1, 2 * STRIDE, 3 * STRIDE)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_starts_close_to_the_identity() -> None:
    image = torch.rand(1, 3, STRIDE, STRIDE)
    assert (FastRestorer(3)(image).restored - image).abs().mean() < 0.02


def test_at_half_the_size_it_takes_and_gives_the_full_image() -> None:
    net = FastRestorer(3, 16, 2, scale=2)
    image = torch.rand(2, 3, 2 * STRIDE, 4 * STRIDE)
    out = net(image)
    assert out.restored.shape == image.shape and out.mask.shape == (2, 1, 2 * STRIDE, 4 * STRIDE)
    assert net.restore(torch.rand(2, 3, STRIDE, 2 * STRIDE)).restored.shape == (2, 3, STRIDE, 2 * STRIDE)
    assert (out.restored - image).abs().mean() < 0.3, "untrained it blurs half at the most"


@pytest.mark.parametrize("channels", [1, 3])
def test_training_and_the_robot_bring_changes_back_alike(channels: int) -> None:
    random = np.random.default_rng(0)
    batch = cv2.GaussianBlur(random.integers(0, 256, (96, 128, channels), dtype=np.uint8), (0, 0), 2.0)
    batch = batch.reshape(1, 96, 128, channels)
    small = scale.reduce(batch, 2)
    restored = np.clip(small.astype(int) + random.integers(-40, 40, small.shape), 0, 255).astype(np.uint8)
    masks = random.integers(0, 256, small.shape[:3], dtype=np.uint8)

    def tensor(images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)

    out = Restoration(tensor(restored), tensor(restored), torch.logit(tensor(masks[..., None]), 1e-6))
    ours = compose(tensor(batch), tensor(small), out, 2).restored.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    theirs = scale.compose(batch, small, restored, masks)[0]
    assert np.abs(ours - theirs).max() < 2 and np.abs(theirs.astype(int) - batch).max() > 10


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = FastRestorer(1, 16, 2)
    for name, parameter in net.named_parameters():
        # Above zero, so that no rectifier is closed by chance.
        torch.nn.init.constant_(parameter, 1.0) if name.endswith("bias") else torch.nn.init.normal_(parameter, std=0.02)
    out = net(torch.rand(2, 1, 4 * STRIDE, 4 * STRIDE))
    (out.restored.square().mean() + out.mask.mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_sees_far_enough_to_fill_a_large_drop() -> None:
    net = FastRestorer(1, 16, 9)
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    image = torch.zeros(1, 1, 512, 512, requires_grad=True)
    net(image).restored[0, 0, 256, 256].backward()
    assert image.grad is not None
    columns = torch.nonzero(image.grad[0, 0].abs().sum(0)).flatten()
    assert columns.max() - columns.min() > 300


def test_the_deeper_part_starts_without_effect_and_sees_farther_once_it_has_one() -> None:
    torch.manual_seed(0)
    image, far = torch.rand(1, 1, 4 * STRIDE, 4 * STRIDE), []
    for deep in (0, 2):
        net = FastRestorer(1, 16, 1, deep=deep)
        if deep:
            before = net(image).restored
            torch.nn.init.normal_(net.from_sixteenth.weight, std=0.1)
            assert not torch.equal(net(image).restored, before)
            torch.nn.init.zeros_(net.from_sixteenth.weight)
            plain = FastRestorer(1, 16, 1)
            plain.load_state_dict({name: value for name, value in net.state_dict().items() if "sixteenth" not in name})
            torch.testing.assert_close(plain(image).restored, before)
        for parameter in net.parameters():
            torch.nn.init.constant_(parameter, 0.01)
        wide = torch.zeros(1, 1, 512, 512, requires_grad=True)
        net(wide).mask[0, 0, 256, 256].backward()
        assert wide.grad is not None
        columns = torch.nonzero(wide.grad[0, 0].abs().sum(0)).flatten()
        far.append(int(columns.max() - columns.min()))
    assert far[1] > far[0] + 64
