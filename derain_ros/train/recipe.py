"""Recipes: every hyper-parameter and what it does, those of all trainings and those of restorers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from derain_ros.data.samples import ANOMALIES, DataError

RECIPES = Path(__file__).with_name("recipes")
"""Folder of the shipped recipes, YAML."""


Self = TypeVar("Self", bound="Recipe")


@dataclass(frozen=True)
class Recipe:
    """What the training loop needs of every recipe."""

    steps: int = 9000
    """Largest number of steps."""
    batch: int = 8
    """Samples in a step, divided among the devices."""
    learning_rate: float = 5e-3
    """Peak rate. AdamW needs about a tenth of Muon's."""
    warm_up: int = 200
    """Steps over which the rate rises from 0."""
    final_rate: float = 0.0
    """Share of the peak to which a cosine lowers the rate; 1 keeps it."""
    validate_every: int = 500
    """Steps from one validation to the next."""
    patience: int = 0
    """Validations without a better figure after which training stops; 0: never."""
    start_from: str = ""
    """Weights to start from: a checkpoint of an earlier training, an exported model or the name of a shipped one, in
    floating point; random if empty."""
    seed: int = 1
    """Determines the first weights and every sample."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        self.must_be_above_zero("steps", "batch", "validate_every")
        self.must_not_be_negative("learning_rate", "warm_up", "patience")
        self.must_be_shares("final_rate")

    def must_be_above_zero(self, *names: str) -> None:
        """Raise DataError if one of these is 0 or less."""
        for name in names:
            if getattr(self, name) <= 0:
                raise DataError(f"recipe: {name}: {getattr(self, name)} is not above 0")

    def must_not_be_negative(self, *names: str) -> None:
        """Raise DataError if one of these is below 0."""
        for name in names:
            if getattr(self, name) < 0:
                raise DataError(f"recipe: {name}: {getattr(self, name)} is below 0")

    def must_be_shares(self, *names: str) -> None:
        """Raise DataError if one of these is not between 0 and 1."""
        for name in names:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError(f"recipe: {name}: {getattr(self, name)} is not between 0 and 1")

    def begun_with(self: Self, checkpoint: Path) -> Self:
        """Return this recipe with `start_from` set to a checkpoint, unless it names other weights."""
        return replace(self, start_from=self.start_from or str(checkpoint))


@dataclass(frozen=True)
class RestoreRecipe(Recipe):
    """Hyper-parameters of a restorer's training.

    The recipes in `recipes/` contain what differs from the defaults: for the three rungs of the ladder, the network for
    rain, the paper's own, and for tuning a trained network to a robot's own images.
    """

    # The network.
    network: str = "fast"
    """`fast`: edges on the quarter grid, any `width` and `blocks`; `printed`: the network of paper 1."""
    width: int = 64
    """Filters of the fast network's trunk; its edges have half as many."""
    blocks: int = 9
    """Residual blocks of the fast network's trunk."""
    scale: int = 1
    """The fast network works on the image reduced by this, 1 to 4: 2 is half the size."""
    deep: int = 0
    """Residual blocks of the fast network at a sixteenth of the size, with twice the width."""
    enhancer: bool = True
    """Whether the printed network has its enhancer (E)."""
    aggregation: bool = True
    """Whether the printed network has its aggregation modules (A)."""

    # Losses.
    adversarial: bool = False
    """Losses (1) to (5) of paper 1, a step of the discriminator and a joint step in turn; else L1, L2 and SSIM."""
    detector: str = ""
    """A detector whose features loss (3) compares if there is no VGG-19: a checkpoint of `derain train detect`, an
    exported one, or the name of a shipped one; none if empty."""
    mask_weight: float = 0.05
    """Weight of the mask's loss; the paper has no mask."""
    teacher: str = ""
    """A network whose output is a target, too: a checkpoint, an exported model or the name of a shipped one; none if
    empty."""
    teacher_weight: float = 1.0
    """Weight of the mean absolute difference from the teacher's output."""
    segmenter: str = ""
    """A segmenter whose features of restored and clean images are compared, loss (4) of paper 2: a checkpoint of
    `derain train segmentation`, an exported one, or the name of a shipped one; none if empty."""
    semantic: float = 0.25
    """Weight of that loss."""
    unlabelled: tuple[str, ...] = ()
    """Folders of wet images without clean ones; their only target is the teacher's output."""
    unlabelled_batch: int = 4
    """Unlabelled images in a step in addition to its batch, if there are any."""

    # Data.
    anomaly: str = "drops"
    """`drops` on the lens or falling `rain`: what is drawn on photographs, and which real pairs are used."""
    crop: int = 192
    """Side of the training crops in pixels, a multiple of 32 times `scale`."""
    real_share: float = 0.7
    """Share of the samples drawn from real pairs; with 0, validation is on synthetic pairs only."""
    clean_share: float = 0.06
    """Share of the samples that are clean: they must stay unchanged."""
    grey_share: float = 0.5
    """Share of the samples that are turned grey, so that one network serves grey and colour."""
    synthetic: int = 512
    """Synthetic pairs kept in memory; new ones replace them during training."""
    reuse: float = 8.0
    """How often a synthetic pair is drawn before a new one replaces it, on average."""
    showers: float = 0.0
    """Share of the synthetic pairs in a shower, with drops on the lens and streaks before it together."""
    sharp_drops: bool = False
    """Draw drops with sharp borders and no brighter inside, as the model that the paper compares with its own."""

    # Optimisation.
    optimiser: str = "muon"
    """`muon`, which needs fewer steps (see muon.py), or `adam`: AdamW."""
    final_rate: float = 0.01
    beta: float = 0.9
    """Decay of the first moment of AdamW; 0.5 is usual against a discriminator."""
    weight_decay: float = 1e-4
    """Of AdamW; 0 makes it plain Adam. Muon has none."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is validated and exported; 0 uses the weights themselves."""

    def __post_init__(self) -> None:
        """Raise DataError for values that cannot be used."""
        super().__post_init__()
        if self.network not in ("fast", "printed"):
            raise DataError(f"recipe: network: {self.network!r} is neither fast nor printed")
        if self.optimiser not in ("muon", "adam"):
            raise DataError(f"recipe: optimiser: {self.optimiser!r} is neither muon nor adam")
        if self.anomaly not in ANOMALIES:
            raise DataError(f"recipe: anomaly: {self.anomaly!r} is neither drops nor rain")
        if not 1 <= self.scale <= 4:
            raise DataError(f"recipe: scale: {self.scale} is not between 1 and 4")
        if self.crop <= 0 or self.crop % (32 * self.scale):
            raise DataError(f"recipe: crop: {self.crop} is not a multiple of {32 * self.scale}")
        self.must_be_above_zero("width", "blocks", "reuse")
        self.must_be_shares("showers", "real_share", "clean_share", "grey_share", "average", "beta")
        self.must_not_be_negative("semantic", "mask_weight", "teacher_weight", "weight_decay", "synthetic")
        if self.unlabelled and not self.teacher:
            raise DataError("recipe: unlabelled: nothing can be learnt from unlabelled images without a `teacher`")
