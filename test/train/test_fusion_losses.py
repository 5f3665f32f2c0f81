"""The losses of fusion: they measure what the figures measure, and ask for what is wanted of each source."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.evaluate.fusion_metrics import edge_preservation as qabf  # noqa: E402
from derain_ros.evaluate.fusion_structure import visual_information_fidelity as vif  # noqa: E402
from derain_ros.train.fusion_losses import edge_preservation, fidelity, fusion_losses  # noqa: E402

SIZE = 128


def texture(seed: int, smooth: float = 1.5) -> np.ndarray:
    """An image (SIZE, SIZE) uint8 with edges of all directions."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (SIZE, SIZE)), (0, 0), smooth)
    return np.clip(120 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255)[None, None]


VISIBLE, INFRARED = texture(0), texture(1, 4.0)
EVERYWHERE = torch.ones(1, 1, SIZE, SIZE)


@pytest.mark.parametrize(
    "fused", [np.maximum(VISIBLE, INFRARED), VISIBLE, VISIBLE // 2 + INFRARED // 2], ids=["maximum", "visible", "mean"]
)
def test_they_measure_what_the_figures_do(fused: np.ndarray) -> None:
    ours = edge_preservation(tensor(fused), tensor(VISIBLE), tensor(INFRARED), EVERYWHERE).item()
    # The figure takes the border for an edge, and does not wrap directions around.
    assert ours == pytest.approx(qabf(VISIBLE, INFRARED, fused), abs=0.05)
    ours = sum(fidelity(tensor(fused), tensor(source)).item() for source in (VISIBLE, INFRARED))
    assert ours == pytest.approx(vif(VISIBLE, INFRARED, fused), rel=0.05)


def test_inverted_edges_are_lost() -> None:
    whole, inverted = (
        edge_preservation(tensor(image), tensor(VISIBLE), tensor(VISIBLE), EVERYWHERE).item()
        for image in (VISIBLE, 255 - VISIBLE)
    )
    assert whole > 0.95 and inverted < 0.01


def losses(
    fused: np.ndarray,
    visible: np.ndarray = VISIBLE,
    infrared: np.ndarray = INFRARED,
    gain: float = 1.0,
    trust: torch.Tensor = EVERYWHERE,
) -> dict[str, float]:
    parts = fusion_losses(tensor(fused), torch.full((1, 1, SIZE, SIZE), gain), tensor(visible), tensor(infrared), trust)
    return {name: part.item() for name, part in parts._asdict().items()}


def test_both_sources_are_asked_for() -> None:
    both = losses(np.clip(VISIBLE.astype(int) + INFRARED - 120, 0, 255).astype(np.uint8))
    for alone in (losses(VISIBLE), losses(INFRARED)):
        assert both["correlation"] < alone["correlation"]
    # The visible image has the stronger gradients nearly everywhere.
    assert losses(VISIBLE)["gradient"] < both["gradient"] < losses(INFRARED)["gradient"]
    assert losses(VISIBLE)["edges"] < losses(texture(5))["edges"]
    assert losses(VISIBLE)["information"] < losses(texture(5))["information"]


def test_the_base_is_a_mean_in_which_the_brighter_source_weighs_more() -> None:
    dark, bright = np.full((SIZE, SIZE), 20, np.uint8), np.full((SIZE, SIZE), 200, np.uint8)
    for visible, infrared in ((dark, bright), (bright, dark)):
        wanted = np.full((SIZE, SIZE), 155, np.uint8)
        assert losses(wanted, visible, infrared)["base"] < 0.005
        assert losses(dark, visible, infrared)["base"] > losses(bright, visible, infrared)["base"] > 0.15


def test_infrared_that_is_white_all_over_says_nothing_of_the_base() -> None:
    saturated = np.full((SIZE, SIZE), 255, np.uint8)
    assert losses(VISIBLE, infrared=saturated)["base"] < 0.01 < losses(saturated, infrared=saturated)["base"]


def test_infrared_gain_costs_where_the_infrared_image_is_flat() -> None:
    noise = np.clip(100 + np.random.default_rng(0).normal(0, 1.5, (SIZE, SIZE)), 0, 255).astype(np.uint8)
    assert losses(VISIBLE, infrared=noise)["flat"] > 0.5
    assert losses(VISIBLE, infrared=noise, gain=0.1)["flat"] < 0.02
    assert losses(VISIBLE, infrared=texture(1, 1.0))["flat"] < 0.01


def test_where_the_visible_image_is_hidden_the_infrared_one_counts_alone() -> None:
    nowhere = torch.zeros_like(EVERYWHERE)
    seen, hidden = losses(INFRARED), losses(INFRARED, trust=nowhere)
    assert hidden["edges"] < 0.1 < seen["edges"] and hidden["gradient"] < 0.01 < seen["gradient"]
    assert hidden["base"] == seen["base"], "what a drop hides is detail"
    assert losses(VISIBLE, trust=nowhere)["edges"] == pytest.approx(
        losses(VISIBLE, visible=INFRARED)["edges"], abs=0.01
    )


def test_gradients_are_finite_on_flat_images() -> None:
    fused = torch.full((1, 1, SIZE, SIZE), 0.5, requires_grad=True)
    flat = torch.full((1, 1, SIZE, SIZE), 0.5)
    torch.stack(list(fusion_losses(fused, flat, flat, flat, EVERYWHERE))).sum().backward()
    assert fused.grad is not None and torch.isfinite(fused.grad).all()
