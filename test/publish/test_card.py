"""Cards: what is written is true of the network and its training, and a block is replaced without touching the rest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets.fast import FastRestorer  # noqa: E402
from derain_ros.nets.printed import PrintedRestorer  # noqa: E402
from derain_ros.publish.card import interface, training, write_block, write_card  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402


def test_what_the_network_is() -> None:
    assert "0.97 M parameters; 7.5 GMAC" in interface(FastRestorer(1)) and "9 residual" in interface(FastRestorer(1))
    assert "[N, H, W, 3], RGB" in interface(PrintedRestorer(3)) and "G+E+A" in interface(PrintedRestorer(3))
    assert "G+E of" in interface(PrintedRestorer(3, aggregation=False))


def test_the_phases_of_a_training(tmp_path: Path) -> None:
    first = {"net": {}, "recipe": asdict(RestoreRecipe(steps=11, seed=5)), "step": 9}
    torch.save(first, tmp_path / "best.pt")
    last = {"recipe": asdict(RestoreRecipe(steps=22, start_from=str(tmp_path / "best.pt"))), "step": 22}
    text = training(last)
    assert (
        text.index("Phase 1, 9 steps")
        < text.index("steps: 11")
        < text.index("Phase 2, from the weights of phase 1, 22 steps")
    )
    assert "seed: 5" in text and "width" not in text, "only what differs from the defaults"
    assert str(tmp_path) not in text and "2400, 7200, 12000" in text
    (tmp_path / "best.pt").unlink()
    assert "not at hand" in training(last) and "Phase 2" not in training(last)


def test_the_card_of_one_for_rain(tmp_path: Path) -> None:
    write_card(
        tmp_path / "a.md", "a", FastRestorer(3, 16, 1), {"recipe": asdict(RestoreRecipe(anomaly="rain")), "step": 3}
    )
    text = (tmp_path / "a.md").read_text()
    assert "as if no rain fell" in text and "RoadScene-rain" in text and "anomaly: rain" in text
    assert "lens, and" not in text and "RobotCar" not in text


def test_blocks_are_replaced_and_the_rest_is_kept(tmp_path: Path) -> None:
    card, net = tmp_path / "a.md", FastRestorer(1, 16, 1)
    card.write_text("# written by hand, untrue of the new weights\n")
    state = {"recipe": asdict(RestoreRecipe()), "step": 3}
    write_card(card, "a", net, state)
    assert "by hand" not in card.read_text()
    card.write_text(card.read_text() + "- A limit found by a person.\n")
    write_block(card, "figures a_int8", "| old |")
    write_block(card, "figures a_int8", "| new |")
    write_card(card, "a", net, {**state, "step": 4})
    text = card.read_text()
    assert "found by a person" in text and "| new |" in text and "| old |" not in text
    assert "Phase 1, 4 steps" in text and "3 steps" not in text and text.count("## Limits") == 1


def test_what_no_recipe_has_any_more_is_told_apart() -> None:
    text = training({"recipe": {**asdict(RestoreRecipe(steps=11)), "patches": 3}, "step": 11})
    assert "{steps: 11}" in text and "an earlier version of that command, and there with {patches: 3}" in text


def test_data_of_one_s_own_is_named_and_none_else() -> None:
    text = training({"recipe": asdict(RestoreRecipe(steps=11)), "step": 11, "data": ["12 pairs in walk/rain"]})
    assert "DATA held 12 pairs in walk/rain." in text and "RobotCar" not in text
