"""The training loop: it learns, resumes to the bit, stops early or when asked, and shares a batch among processes."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("lightning_fabric", reason="training needs the extra `train`")
pytest.importorskip("tensorboard", reason="training needs the extra `train`")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from derain_ros.data.samples import DataError  # noqa: E402
from derain_ros.train import learners, loop  # noqa: E402
from derain_ros.train.batches import Batches, RawBatch  # noqa: E402
from derain_ros.train.loop import Machine, train_phases  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402
from derain_ros.train.restore import train  # noqa: E402

TINY = RestoreRecipe(
    width=16, blocks=1, steps=6, batch=2, crop=32, synthetic=4, validate_every=4, warm_up=2, average=0.9, seed=3
)
PAPER = replace(TINY, network="printed", adversarial=True, average=0.0, beta=0.5, patience=9)
# Mixed precision, the default, takes four times as long where the processor has no bfloat16.
CPU = Machine("cpu", precision="32-true")


def read_log(folder: Path) -> list[dict[str, float]]:
    return [{**json.loads(line), "time": 0} for line in (folder / "log.jsonl").read_text().splitlines()]


def load(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(path, weights_only=False)


def assert_same_weights(a: Path, b: Path) -> None:
    for name in load(a)["net"]:
        assert torch.equal(load(a)["net"][name], load(b)["net"][name]), name


def cut_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the power fail once, when so many batches have been drawn in this process."""
    draw, left = Batches.draw, steps

    def draw_until_the_power_fails(batches: Batches, step: int) -> RawBatch:
        nonlocal left
        left -= 1
        if left == -1:
            raise ConnectionResetError("no power")
        return draw(batches, step)

    monkeypatch.setattr(Batches, "draw", draw_until_the_power_fails)


def test_learns_from_real_pairs(data_folder: Path, tmp_path: Path) -> None:
    train(
        [data_folder],
        tmp_path,
        replace(TINY, crop=64, real_share=1.0, clean_share=0.0, steps=150, learning_rate=2e-3, validate_every=50),
        CPU,
    )
    log = read_log(tmp_path)
    assert [row["step"] for row in log] == [50, 100, 150]
    assert log[-1]["psnr"] > log[-1]["input_psnr"] + 1.0 and log[-1]["loss"] < log[0]["loss"]


def test_learns_from_rain(data_folder: Path, tmp_path: Path) -> None:
    train(
        [data_folder],
        tmp_path,
        replace(
            TINY,
            anomaly="rain",
            crop=64,
            real_share=0.5,
            clean_share=0.0,
            steps=200,
            learning_rate=3e-3,
            validate_every=100,
        ),
        CPU,
    )
    log = read_log(tmp_path)
    assert log[0]["input_psnr"] < 20 and log[-1]["psnr"] > log[-1]["input_psnr"] + 1.0


@pytest.mark.parametrize(
    ("recipe", "machine"), [(TINY, Machine("cpu")), (replace(PAPER, steps=2), CPU)], ids=["fast, mixed", "paper"]
)
def test_resumes_to_the_bit(
    recipe: RestoreRecipe, machine: Machine, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train([data_folder], tmp_path / "whole", recipe, machine)
    # A checkpoint after every step, validated or not; the cut falls between two validations.
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    done = min(3, recipe.steps - 1)
    cut_after(done, monkeypatch)
    with pytest.raises(ConnectionResetError):
        train([data_folder], tmp_path / "cut", recipe, machine)
    assert load(tmp_path / "cut/last.pt")["step"] == done
    cut = train([data_folder], tmp_path / "cut", recipe, machine)
    assert_same_weights(whole, cut)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")
    # What is done is not done again.
    before = cut.stat().st_mtime_ns
    assert train([data_folder], tmp_path / "cut", recipe, machine) == cut and cut.stat().st_mtime_ns == before


def test_a_seed_decides_everything(data_folder: Path, tmp_path: Path) -> None:
    trainings = (("a", 1, CPU), ("b", 1, replace(CPU, workers=2)), ("c", 2, CPU))
    once, again, other = (
        train([data_folder], tmp_path / name, replace(TINY, steps=2, seed=seed), machine)
        for name, seed, machine in trainings
    )
    assert_same_weights(once, again)
    with pytest.raises(AssertionError):
        assert_same_weights(once, other)


def test_asked_to_stop_it_saves_and_says_so(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train([data_folder], tmp_path / "whole", TINY, CPU)
    draw = Batches.draw

    def press_ctrl_c(batches: Batches, step: int) -> RawBatch:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(batches, step)

    caplog.set_level("INFO")
    monkeypatch.setattr(Batches, "draw", press_ctrl_c)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train([data_folder], tmp_path / "cut", TINY, CPU)
    assert "last.pt holds step 3; the same command goes on" in caplog.text
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(Batches, "draw", draw)
    assert_same_weights(whole, train([data_folder], tmp_path / "cut", TINY, CPU))


def test_stops_early_and_keeps_the_best(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = iter([20.0, 21.0, 20.5, 20.9])
    figures = {"ssim": 0.5, "clean_psnr": 40.0}
    monkeypatch.setattr(learners, "validate", lambda *_: ({"psnr": next(ahead), **figures}, torch.zeros(3, 8, 24)))
    best = train([data_folder], tmp_path, replace(TINY, steps=90, validate_every=1, patience=2), CPU)
    assert [row["psnr"] for row in read_log(tmp_path)] == [20.0, 21.0, 20.5, 20.9]
    assert best.name == "best.pt" and load(best)["figures"]["psnr"] == 21.0  # type: ignore[comparison-overlap]


def test_processes_share_a_batch(data_folder: Path, tmp_path: Path) -> None:
    # But for the mask: each counts the overlap of its own images.
    recipe = replace(TINY, steps=2, mask_weight=0.0)
    one, two = (train([data_folder], tmp_path / str(n), recipe, Machine("cpu", n, "32-true")) for n in (1, 2))
    for name, weights in load(one)["net"].items():
        torch.testing.assert_close(load(two)["net"][name], weights, atol=2e-5, rtol=1e-3, msg=name)
    with pytest.raises(DataError, match="cannot be shared out among 3 devices"):
        train([data_folder], tmp_path / "3", recipe, Machine("cpu", 3))


def test_phases_begin_where_the_last_one_ended(data_folder: Path, tmp_path: Path) -> None:
    first = replace(PAPER, steps=2, real_share=0.0)
    second = replace(first, learning_rate=0.0, real_share=1.0, seed=9)
    result = train_phases(lambda recipe, folder: train([data_folder], folder, recipe, CPU), tmp_path, [first, second])
    assert result == tmp_path / "2/best.pt"
    learnt, kept = load(tmp_path / "1/best.pt")["average"], load(result)["average"]
    assert all(torch.equal(kept[name], learnt[name]) for name in learnt if "running" not in name and "num_" not in name)
    with pytest.raises(DataError, match="has not the parts of the network"):
        train([data_folder], tmp_path / "3", replace(second, enhancer=False, start_from=str(result)), CPU)


@pytest.mark.parametrize("which", ["teacher", "start_from"])
def test_a_network_that_is_missing_is_told_before_images_are_looked_for(which: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.pt: there is no such checkpoint"):
        train([tmp_path / "no images"], tmp_path / "run", replace(TINY, **{which: "nowhere.pt"}), CPU)
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_figures_and_samples(data_folder: Path, tmp_path: Path) -> None:
    train([data_folder], tmp_path, replace(PAPER, steps=2), CPU)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"psnr", "ssim", "loss", "judge", "gan", "fm", "fid", "mask"} <= set(events.Tags()["scalars"])
    (image,) = events.Images("samples")
    assert (image.step, image.width) == (2, 3 * 256)


def test_a_loss_that_is_none_ends_it(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="step 4: the loss is (nan|inf)"):
        train([data_folder], tmp_path, replace(TINY, learning_rate=1e30, warm_up=0), CPU)
    assert not (tmp_path / "last.pt").exists()
