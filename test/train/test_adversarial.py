"""Adversarial training: whom each step moves, that it learns, stops early, resumes, and begins where it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.train import adversarial  # noqa: E402
from derain_ros.train.adversarial import AdversarialRecipe, AdversarialTraining, fit, load_printed, train  # noqa: E402
from derain_ros.train.data import Batch, BatchSource, DataError, Pair  # noqa: E402
from derain_ros.train.restore import ValidationSet  # noqa: E402

TINY = AdversarialRecipe(epochs=2, epoch_steps=2, batch=2, crop=32, synthetic=3, patience=2, seed=3)


@pytest.fixture
def pair() -> Pair:
    """A dark picture behind one white drop."""
    clean = np.full((64, 64, 3), (60, 90, 40), np.uint8)
    wet, mask = clean.copy(), np.zeros((64, 64), np.uint8)
    wet[20:40, 20:40], mask[20:40, 20:40] = 250, 255
    return Pair(wet, clean, mask)


@pytest.fixture
def source(pair: Pair) -> Callable[[], BatchSource]:
    """Makes equal sources."""
    return lambda: BatchSource([pair], [], 32, 2, 1.0, 0.0, np.random.default_rng(0))


@pytest.fixture
def images(pair: Pair) -> ValidationSet:
    return ValidationSet([pair], [pair.clean])


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def a_batch() -> Batch:
    torch.manual_seed(0)
    return Batch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float())


def copies(net: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def moved(net: torch.nn.Module, before: list[torch.Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("mute", ["discrimination", "generator_losses"])
def test_each_step_moves_its_own_network(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = AdversarialTraining(replace(TINY, mask_weight=0.0), None)
    before = copies(training.net), copies(training.discriminator)
    monkeypatch.setattr(adversarial, mute, {
        "discrimination": lambda real, generated: 0 * (real.mean() + generated.mean()),
        "generator_losses": lambda out, *_: {"gan": 0 * (out.generated.mean() + out.restored.mean())}}[mute])
    training.step(a_batch())
    assert moved(training.net, before[0]) == (mute == "discrimination")
    assert moved(training.discriminator, before[1]) == (mute == "generator_losses")


def test_the_restorer_faces_a_discriminator_that_has_just_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    training = AdversarialTraining(TINY, None)
    before = copies(training.discriminator)
    seen = []
    losses = adversarial.generator_losses

    def watch(*arguments: object) -> dict[str, torch.Tensor]:
        seen.append(moved(training.discriminator, before))
        return losses(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(adversarial, "generator_losses", watch)
    figures = training.step(a_batch())
    assert seen == [True]
    assert figures["total"] == pytest.approx(sum(figures[name] for name in ("gan", "fm", "fid", "mask")))
    assert "vgg" in AdversarialTraining(TINY, lambda image: [image]).step(a_batch())


def test_learns(source: Callable[[], BatchSource], images: ValidationSet, tmp_path: Path) -> None:
    fit(source(), images, tmp_path, replace(TINY, epochs=3, epoch_steps=20, learning_rate=2e-3), None)
    log = read_log(tmp_path)
    assert log[-1]["fid"] < 0.6 * log[0]["fid"] and log[-1]["judge"] < 0.5


def test_stops_early_and_keeps_the_best(source: Callable[[], BatchSource], images: ValidationSet, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = iter([20.0, 21.0, 20.5, 20.9])
    monkeypatch.setattr(adversarial, "validate", lambda *_: {"psnr": next(ahead), "ssim": 0.5})
    best = fit(source(), images, tmp_path, replace(TINY, epochs=9, epoch_steps=1), None)
    assert [row["psnr"] for row in read_log(tmp_path)] == [20.0, 21.0, 20.5, 20.9]
    assert torch.load(best, weights_only=False)["figures"]["psnr"] == 21.0


def test_resumes_to_the_same_result(source: Callable[[], BatchSource], images: ValidationSet, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    fit(source(), images, tmp_path / "whole", TINY, None)
    draw, draws = BatchSource.draw, 0

    def draw_until_the_power_fails(source: BatchSource) -> Batch:
        nonlocal draws
        draws += 1
        if draws == 4:
            raise KeyboardInterrupt
        return draw(source)

    monkeypatch.setattr(BatchSource, "draw", draw_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        fit(source(), images, tmp_path / "cut", TINY, None)
    assert [row["epoch"] for row in read_log(tmp_path / "cut")] == [1]
    fit(source(), images, tmp_path / "cut", TINY, None)
    whole, cut = read_log(tmp_path / "whole")[-1], read_log(tmp_path / "cut")[-1]
    assert {**whole, "time": 0} == {**cut, "time": 0} and whole["epoch"] == 2


def test_begins_with_the_weights_of_a_checkpoint(source: Callable[[], BatchSource], images: ValidationSet,
                                                 tmp_path: Path) -> None:
    first = fit(source(), images, tmp_path / "first", TINY, None)
    still = replace(TINY, epochs=1, learning_rate=0.0, seed=9)
    second = fit(source(), images, tmp_path / "second", still, None, first)
    for ours, theirs in zip(load_printed(first).parameters(), load_printed(second).parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(DataError, match="has not the parts"):
        fit(source(), images, tmp_path / "third", replace(TINY, enhancer=False), None, first)
    (tmp_path / "text.pt").write_text("no checkpoint")
    for path in (tmp_path / "text.pt", tmp_path / "missing.pt"):
        with pytest.raises(DataError, match=f"{path.name}: not a checkpoint"):
            load_printed(path)


def test_trains_on_a_data_folder(data_folder: Path, tmp_path: Path) -> None:
    best = train(data_folder, tmp_path, replace(TINY, epochs=1, crop=64))
    assert read_log(tmp_path)[0]["input_psnr"] > 0
    out = load_printed(best)(torch.rand(1, 3, 32, 32))
    assert out.restored.shape == (1, 3, 32, 32)
