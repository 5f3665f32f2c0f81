from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fake_networks import BALANCED, LIGHT, QUALITY, RAIN, TEMPORAL, model

from derain_ros.manifest import Manifest, Model
from derain_ros.runtime.loading.models import Network
from derain_ros.runtime.plan.ladder import Ladder
from derain_ros.runtime.stages.restore import restorers
from derain_ros.runtime.stages.temporal import Temporal

GREY, COLOUR = (2, 54, 72, 1), (2, 54, 72, 3)
GENERAL = (BALANCED, LIGHT, QUALITY)
"""In any order: that of the ladder is that of the rungs."""


class Shelf:
    """A loader of which the test says what is on it."""

    def __init__(self) -> None:
        self.out: set[str] = set()
        self.ready: set[str] = set()
        self.ms: dict[str, float] = {}

    def is_out(self, network: Network) -> bool:
        return network.name in self.out

    def engine(self, wanted: Any) -> Any:
        name = wanted.network.name
        return (
            SimpleNamespace(name="fake", device="nowhere", streams=1, model=wanted.network.models[0])
            if name in self.ready
            else None
        )

    def measured_ms(self, wanted: Any) -> float:
        return self.ms.get(wanted.network.name, 0.0)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def ladder(shelf: Any, *models: Model, temporal: bool = False) -> Ladder:
    networks = [Network(each.network, (each,)) for each in models]
    after = [Temporal(Network("temporal", (TEMPORAL,)), shelf)] if temporal else []
    return Ladder(restorers(networks, shelf), after)


def names(ladder: Ladder, *kinds: str, best: str = "auto", every: bool = False) -> list[str]:
    return [plan.name for plan in ladder.plans([GREY], kinds, best, every)]


@pytest.mark.parametrize("kinds", [("raindrop",), ("clean",), ("dirt", "raindrop")])
def test_the_best_comes_first(shelf: Shelf, kinds: tuple[str, ...]) -> None:
    assert names(ladder(shelf, *GENERAL, RAIN), *kinds) == ["quality", "balanced", "light"]


def test_joining_with_the_past_comes_before_going_without(shelf: Shelf) -> None:
    assert names(ladder(shelf, BALANCED, LIGHT, temporal=True), "raindrop") == [
        "balanced + temporal",
        "balanced",
        "light + temporal",
        "light",
    ]


def test_what_is_made_for_rain_takes_away_rain_and_goes_before_what_takes_away_the_rest(shelf: Shelf) -> None:
    made = ladder(shelf, *GENERAL, RAIN, temporal=True)
    assert names(made, "streak")[0] == names(made, "streak", "night_rain")[0] == "rain"
    assert names(made, "raindrop", "streak")[:2] == ["rain + quality", "rain + balanced"]
    # It knows nothing of the glass: nothing is joined with what was seen behind other streaks.
    assert not any("rain" in name and "temporal" in name for name in names(made, "raindrop", "streak"))


def test_what_is_made_for_drops_is_no_plan_in_falling_rain_alone(shelf: Shelf) -> None:
    # `light` hurts trackers there (derain evaluate matrix): where what is made for rain does not keep up, or is not
    # allowed, nothing is restored.
    made = ladder(shelf, *GENERAL, RAIN, temporal=True)
    for kinds in (("streak",), ("night_rain",), ("streak", "night_rain")):
        assert names(made, *kinds) == ["rain", ""]
        assert names(made, *kinds, best="light") == [""]
    assert names(made, "streak", "raindrop", best="light") == ["light + temporal", "light"]


def test_one_is_no_plan_behind_what_it_is_not_for_unless_it_is_asked_for(shelf: Shelf) -> None:
    # It hurts trackers there (derain evaluate matrix).
    light = replace(LIGHT, not_for=("dirt",))
    made = ladder(shelf, QUALITY, BALANCED, light, RAIN)
    assert names(made, "dirt") == ["quality", "balanced", ""]
    assert names(made, "dirt", best="balanced") == ["balanced", ""]
    assert names(made, "dirt", "streak") == ["rain + quality", "rain + balanced", ""]
    assert names(made, "dirt", best="light") == ["light"]
    assert names(made, "dirt", "raindrop") == ["quality", "balanced", "light"]
    assert names(ladder(shelf, light), "dirt") == ["light"]
    assert names(ladder(shelf, *GENERAL), "dirt") == ["quality", "balanced", "light"]
    # Whatever its rung is.
    best = replace(QUALITY, not_for=("raindrop",))
    assert names(ladder(shelf, best, BALANCED), "raindrop") == ["", "balanced"]


def test_the_shipped_ones_are_for_dirt_only_if_they_are_asked_for(shelf: Shelf) -> None:
    """Behind mud each leaves trackers with fewer points than the camera's images, and the detector says only dirt."""
    general = [m for m in Manifest.load().models.values() if m.task == "restore" and not m.serves and not m.purpose]
    assert len(general) == 12 and {m.not_for for m in general} == {("dirt",)}
    made = ladder(shelf, *(replace(m, not_for=("dirt",)) for m in (QUALITY, BALANCED, LIGHT)), RAIN)
    assert names(made, "dirt") == [""]
    assert names(made, "dirt", best="quality") == ["quality", ""]
    assert names(made, "dirt", best="balanced") == ["balanced", ""]
    assert names(made, "dirt", "streak") == ["rain", ""]
    # With gating off every frame is restored, by something.
    assert names(made, "dirt", every=True) == ["quality", "balanced", "light"]
    assert names(made, "streak", every=True) == ["rain", "light"]
    assert names(made, "dirt", "raindrop") == ["quality", "balanced", "light"]


def test_a_light_one_that_is_made_for_rain_serves_all_rungs(shelf: Shelf) -> None:
    made = ladder(shelf, *GENERAL, model("rain", plan="light", serves=("streak",)))
    assert names(made, "streak") == ["rain"]
    assert names(made, "streak", "dirt") == ["rain + quality", "rain + balanced", "rain + light"]


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ("auto", ["quality", "balanced", "light"]),
        ("quality", ["quality", "balanced", "light"]),
        ("balanced", ["balanced", "light"]),
        ("light", ["light"]),
    ],
)
def test_the_setting_caps_the_ladder(shelf: Shelf, best: str, expected: list[str]) -> None:
    assert names(ladder(shelf, *GENERAL, RAIN), "raindrop", best=best) == expected
    assert ("rain" in names(ladder(shelf, *GENERAL, RAIN), "streak", best=best)) == (best != "light")


@pytest.mark.parametrize("models", [(QUALITY, BALANCED), (BALANCED, QUALITY)])
def test_where_there_is_none_under_the_cap_the_cheapest_is_taken(shelf: Shelf, models: tuple[Model, ...]) -> None:
    assert names(ladder(shelf, *models), "raindrop", best="light") == ["balanced"]


def test_a_network_that_is_out_takes_its_plans_along_and_no_others(shelf: Shelf) -> None:
    made = ladder(shelf, *GENERAL, RAIN, temporal=True)
    shelf.out = {"balanced", "rain", "temporal"}
    assert names(made, "streak") == ["quality", "light"]
    shelf.out |= {"quality", "light"}
    assert names(made, "streak") == []


def test_of_two_on_a_rung_the_first_is_taken_that_can_be(shelf: Shelf) -> None:
    made = ladder(shelf, BALANCED, model("another"))

    def ran() -> str:
        [plan] = made.plans([GREY], ["dirt"])
        return plan.steps[0].load([GREY])[0].network.name  # type: ignore[attr-defined]

    assert ran() == "balanced"
    shelf.out = {"balanced"}
    assert ran() == "another"


def test_images_of_both_kinds_need_networks_for_both(shelf: Shelf) -> None:
    made = ladder(shelf, LIGHT, BALANCED, model("rgb", network="light", channels=3, plan="light"))
    assert [plan.name for plan in made.plans([GREY, COLOUR], ["dirt"])] == ["light"]
    assert [plan.name for plan in made.plans([COLOUR], ["dirt"])] == ["light"]
    assert [
        wanted.network.models[0].name for wanted in made.wanted(made.plans([GREY, COLOUR], ["dirt"]), [GREY, COLOUR])
    ] == ["light", "rgb"]


def test_a_single_network_serves_whatever_comes(shelf: Shelf) -> None:
    assert names(ladder(shelf, RAIN), "raindrop") == ["balanced"]


def test_the_cheapest_is_loaded_first_and_last_what_is_made_for_anomalies_that_may_come(shelf: Shelf) -> None:
    made = ladder(shelf, *GENERAL, RAIN, temporal=True)

    def wanted(*kinds: str, best: str = "auto") -> list[str]:
        return [each.network.name for each in made.wanted(made.plans([GREY], kinds, best), [GREY])]

    assert wanted("raindrop") == ["light", "temporal", "balanced", "quality", "rain"]
    assert wanted("raindrop", best="light") == ["light", "temporal", "rain"]
    # What is needed once drops come is loaded, too.
    assert wanted("streak") == ["rain", "light"]
    shelf.out = {"quality"}
    assert "quality" not in wanted("dirt")
    shapes = {each.network.name: each.shape for each in made.wanted(made.plans([GREY], ["dirt"]), [GREY])}
    assert (shapes["light"], shapes["temporal"]) == ((2, 54, 72), (2, 28, 36))


def test_a_plan_takes_what_its_stages_take_and_is_ready_with_them(shelf: Shelf) -> None:
    shelf.ms = {"balanced": 30.0, "temporal": 5.0}
    joined, alone = ladder(shelf, BALANCED, temporal=True).plans([GREY], ["dirt"])
    assert (joined.cost_ms([GREY]), alone.cost_ms([GREY])) == (35.0, 30.0)
    assert not joined.ready([GREY]) and not alone.ready([GREY])
    shelf.ready = {"balanced"}
    assert not joined.ready([GREY]) and alone.ready([GREY])
    alone.steps[0].learn([GREY], 50.0)
    assert (joined.cost_ms([GREY]), joined.cost_ms([GREY, COLOUR][:1])) == (55.0, 55.0)
    assert joined.key([GREY]) != joined.key([COLOUR]) and joined.key([GREY]) != alone.key([GREY])
