"""A step of training: whom each part moves, and what the teacher is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("lightning_fabric", reason="training needs the extra `train`")

from lightning_fabric import Fabric  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from derain_ros.data.layouts import TrainingFolders  # noqa: E402
from derain_ros.nets.fast import Restoration  # noqa: E402
from derain_ros.nets.segmentation import Maps  # noqa: E402
from derain_ros.train import learners  # noqa: E402
from derain_ros.train.batches import Batch  # noqa: E402
from derain_ros.train.learners import Adversarial, Supervised  # noqa: E402
from derain_ros.train.recipe import RestoreRecipe  # noqa: E402

PRINTED = RestoreRecipe(network="printed", beta=0.5, average=0.0)
FAST = RestoreRecipe(width=16, blocks=1)
NOTHING = TrainingFolders([], [], [], [])
FABRIC = Fabric(accelerator="cpu", devices=1, precision="32-true")


def a_batch(unlabelled: int = 0) -> Batch:
    torch.manual_seed(0)
    images = torch.rand(4 + unlabelled, 3, 32, 32)
    return Batch(images[:2], images[2:4], (torch.rand(2, 1, 32, 32) > 0.5).float(), images[4:])


def adversarial(
    recipe: RestoreRecipe = PRINTED, perceptual: Callable[[Tensor], list[Tensor]] | None = None
) -> Adversarial:
    return Adversarial(FABRIC, recipe, NOTHING, perceptual=perceptual)


def copies(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def moved(net: nn.Module, before: list[Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("mute", ["discrimination", "generator_losses"])
def test_each_step_moves_its_own_network(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = adversarial(replace(PRINTED, mask_weight=0.0, weight_decay=0.0))
    before = copies(learner.net), copies(learner.discriminator)
    monkeypatch.setattr(
        learners,
        mute,
        {
            "discrimination": lambda real, generated: 0 * (real.mean() + generated.mean()),
            "generator_losses": lambda out, *_: {"gan": 0 * (out.generated.mean() + out.restored.mean())},
        }[mute],
    )
    learner.step(a_batch(), 1e-3)
    assert moved(learner.net, before[0]) == (mute == "discrimination")
    assert moved(learner.discriminator, before[1]) == (mute == "generator_losses")


def test_the_restorer_faces_a_discriminator_that_has_just_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = adversarial()
    before, seen, losses = copies(learner.discriminator), [], learners.generator_losses

    def watch(*arguments: object) -> dict[str, Tensor]:
        seen.append(moved(learner.discriminator, before))
        return losses(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(learners, "generator_losses", watch)
    figures = learner.step(a_batch(), 1e-3)
    assert seen == [True]
    parts = sum(float(figures[name]) for name in ("gan", "fm", "fid", "mask"))
    assert float(figures["loss"]) == pytest.approx(parts, rel=1e-5)
    assert float(figures["judge"]) > 0
    assert "vgg" in adversarial(perceptual=lambda image: [image]).step(a_batch(), 1e-3)


class Whitener(nn.Module):
    """A teacher that holds everything to be white, and remembers how many images it was shown."""

    def forward(self, image: Tensor) -> Restoration:
        self.shown = len(image)
        return Restoration(image, torch.full_like(image, 2.0), image[:, :1])


class Middle(nn.Module):
    """A segmenter that sees the mean of an image, five times, and nothing in its last map."""

    def maps(self, image: Tensor) -> Maps:
        mean = image.mean((2, 3), keepdim=True)
        return Maps((mean,) * 5, 0 * mean, mean)


def test_what_a_segmenter_sees_is_a_goal() -> None:
    plain, told = (Supervised(FABRIC, replace(FAST, semantic=0.5), NOTHING) for _ in range(2))
    told.segmenter = Middle()  # type: ignore[assignment]
    batch = a_batch(unlabelled=1)
    without, found = plain.losses(batch), told.losses(batch)
    assert found["restoration"] == without["restoration"] and "semantic" not in without
    restored = told.restore(batch).restored[:2].mean((2, 3))
    expected = 0.5 * (restored - batch.clean.mean((2, 3))).abs().mean()
    assert float(found["semantic"].detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    found["semantic"].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in told.net.parameters())


def test_the_teacher_alone_speaks_on_unlabelled_images() -> None:
    teacher = Whitener()
    taught, alone = (Supervised(FABRIC, replace(FAST, teacher_weight=0.5), NOTHING) for _ in range(2))
    taught.teacher = teacher
    batch = a_batch(unlabelled=3)
    figures, plain = taught.step(batch, 1e-3), alone.step(batch, 1e-3)
    assert teacher.shown == 5
    assert figures["restoration"] == plain["restoration"] and "teacher" not in plain
    wet = torch.cat([batch.wet, batch.unlabelled])
    with torch.no_grad():
        restored = Supervised(FABRIC, FAST, NOTHING).net(wet).restored
    # The teacher's output is clamped to 1.
    assert float(figures["teacher"]) == pytest.approx(0.5 * float((restored - 1).abs().mean()), rel=1e-4)
    assert float(figures["loss"]) == pytest.approx(float(figures["teacher"] + figures["restoration"]))


def test_the_average_follows() -> None:
    learner = Supervised(FABRIC, replace(PRINTED, average=0.5), NOTHING)
    first = copies(learner.average)[0]
    learner.step(a_batch(), 1e-2)
    learner.follow(1000)
    weights, average = next(learner.net.parameters()), next(learner.average.parameters())
    torch.testing.assert_close(average, (first + weights) / 2)
    assert all(torch.equal(a, b) for a, b in zip(learner.average.buffers(), learner.net.buffers(), strict=True))
