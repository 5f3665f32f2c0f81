"""The training loop with the smallest learner: it takes up, stops, keeps the best and tells what cannot be trained."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("lightning_fabric", reason="training needs the extra `train`")
pytest.importorskip("tensorboard", reason="training needs the extra `train`")

from lightning_fabric import Fabric  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.train import loop  # noqa: E402
from derain_ros.train.learner import Learner  # noqa: E402
from derain_ros.train.loop import Machine, learning_rate, train, train_phases  # noqa: E402
from derain_ros.train.recipe import Recipe  # noqa: E402

RECIPE = Recipe(steps=8, batch=4, learning_rate=0.1, warm_up=2, validate_every=3)
CPU = Machine("cpu", precision="32-true")
GOAL = 3.0


class Line(Learner):
    """Learns to multiply by GOAL."""

    task, better = "restore", "nearness"
    before_step: Callable[[int], None] = staticmethod(lambda step: None)

    def __init__(self, recipe: Recipe, fabric: Fabric, workers: int) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(
            fabric,
            recipe,
            nn.Linear(1, 1, bias=False),
            lambda net: torch.optim.Adam(net.parameters(), recipe.learning_rate),
        )

    def batches(self, first: int) -> Iterator[Tensor]:
        for step in range(first, self.recipe.steps):
            self.before_step(step)
            yield torch.rand(self.recipe.batch, 1, generator=torch.Generator().manual_seed(step))

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        return {"squares": (self.forward(batch) - GOAL * batch).square().mean()}

    def validate(self) -> tuple[dict[str, float], None]:
        return {"nearness": -abs(self.net.weight.item() - GOAL)}, None


def read(folder: Path, name: str = "last.pt") -> dict[str, object]:
    return torch.load(folder / name, weights_only=True)


def lines(folder: Path) -> list[dict[str, float]]:
    return [{**json.loads(line), "time": 0} for line in (folder / "log.jsonl").read_text().splitlines()]


def at(step: int, then: Callable[[], None]) -> Callable[[int], None]:
    """What is done before that step, once."""
    left = [step]

    def before(number: int) -> None:
        if left and number == left[0]:
            left.clear()
            then()

    return before


def no_power() -> None:
    raise ConnectionResetError("no power")


@pytest.mark.parametrize("cut", range(1, 8))
def test_taken_up_anywhere_it_comes_to_the_same(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(partial(Line, RECIPE), tmp_path / "whole", CPU)
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(Line, "before_step", staticmethod(at(cut, no_power)))
    with pytest.raises(ConnectionResetError):
        train(partial(Line, RECIPE), tmp_path / "cut", CPU)
    assert read(tmp_path / "cut")["step"] == cut
    train(partial(Line, RECIPE), tmp_path / "cut", CPU)
    assert read(tmp_path / "cut") == read(tmp_path / "whole")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert [line["step"] for line in lines(tmp_path / "whole")] == [3, 6, 8]


def test_it_stops_where_it_gets_no_better_and_gives_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    monkeypatch.setattr(Line, "validate", lambda learner: ({"nearness": next(ahead)}, None))
    best = train(partial(Line, replace(RECIPE, steps=99, validate_every=2, patience=2)), tmp_path, CPU)
    assert best == tmp_path / "best.pt" and read(tmp_path, "best.pt")["step"] == 4 and read(tmp_path)["step"] == 8
    # Asked again it has nothing left to do.
    assert train(partial(Line, replace(RECIPE, steps=99, validate_every=2, patience=2)), tmp_path, CPU) == best
    assert next(ahead) == 9.0


def test_losses_are_means_since_the_last_validation_and_each_step_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[float] = []
    followed: list[int] = []
    step = Line.step

    def watch(learner: Line, batch: Tensor, rate: float) -> dict[str, Tensor]:
        losses = step(learner, batch, rate)
        lost.append(losses["loss"].item())
        return losses

    monkeypatch.setattr(Line, "step", watch)
    monkeypatch.setattr(Line, "follow", lambda learner, step: followed.append(step))
    train(partial(Line, RECIPE), tmp_path, CPU)
    means = [sum(part) / len(part) for part in (lost[:3], lost[3:6], lost[6:])]
    assert [line["loss"] for line in lines(tmp_path)] == pytest.approx(means)
    assert followed == list(range(RECIPE.steps))


def test_ctrl_c_is_obeyed_after_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Line, "before_step", staticmethod(at(4, lambda: os.kill(os.getpid(), signal.SIGINT))))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(partial(Line, RECIPE), tmp_path, CPU)
    assert read(tmp_path)["step"] == 5 and signal.getsignal(signal.SIGINT) is handler
    assert "stopping after this step" in caplog.text and "last.pt holds step 5" in caplog.text


def test_what_is_not_finite_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = float("nan")
    monkeypatch.setattr(Line, "losses", lambda learner, batch: {"squares": learner.forward(batch).mean() * nothing})
    with pytest.raises(DataError, match="step 3: the loss is nan; try a lower `learning_rate` than 0.1"):
        train(partial(Line, RECIPE), tmp_path, CPU)
    assert not (tmp_path / "last.pt").exists()


def test_another_training_is_not_taken_up(tmp_path: Path) -> None:
    torch.save({"net": {}, "recipe": {}}, tmp_path / "last.pt")
    with pytest.raises(DataError, match="last.pt: holds another network or training"):
        train(partial(Line, RECIPE), tmp_path, CPU)


def test_another_recipe_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(partial(Line, RECIPE), tmp_path, CPU)
    train(partial(Line, replace(RECIPE, steps=9, learning_rate=0.2)), tmp_path, CPU)
    assert read(tmp_path)["step"] == 9 and "steps, learning_rate" in caplog.text


def test_phases_begin_where_the_last_one_ended(tmp_path: Path) -> None:
    asked = []

    def phase(recipe: Recipe, folder: Path) -> Path:
        asked.append((folder.relative_to(tmp_path).as_posix(), recipe.start_from))
        return train(partial(Line, recipe), folder, CPU)

    assert train_phases(phase, tmp_path, [RECIPE, RECIPE, replace(RECIPE, start_from="mine")]) == tmp_path / "3/last.pt"
    assert asked == [("1", ""), ("2", str(tmp_path / "1/last.pt")), ("3", "mine")]
    assert train_phases(phase, tmp_path / "alone", [RECIPE]) == tmp_path / "alone/last.pt"


def test_learning_rate_rises_then_falls() -> None:
    recipe = Recipe(steps=100, warm_up=10, learning_rate=1.0, final_rate=0.01)
    rates = [learning_rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(rates[9], abs=0.03)
    assert rates[9:] == sorted(rates[9:], reverse=True) and rates[-1] < 0.02
    assert learning_rate(99, replace(recipe, final_rate=1.0)) == 1.0


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": -1}, {"learning_rate": -0.1}, {"final_rate": 2.0}])
def test_values_that_cannot_be_trained_with_are_told(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        replace(RECIPE, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "multiplies", "expected"),
    [
        (Machine("cpu"), True, "bf16-mixed"),
        (Machine("cpu"), False, "32-true"),
        (Machine("cuda"), False, "bf16-mixed"),
        (Machine("cpu", precision="bf16-mixed"), False, "bf16-mixed"),
    ],
)
def test_precision_is_what_the_device_is_fast_in(
    machine: Machine, multiplies: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies)
    assert loop._precision(machine) == expected
