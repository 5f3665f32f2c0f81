from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from derain_ros.config import Config, ConfigError, check


def test_every_default_is_within_its_own_range_and_explained() -> None:
    config = Config()
    for field in fields(Config):
        check(field.name, getattr(config, field.name))
        assert field.metadata["help"].endswith(".")


def test_two_configs_share_no_list() -> None:
    assert Config().cameras is not Config().cameras


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("budget_ms", 0.5, "budget_ms: 0.5 is outside 1.0 to 10000.0 ms"),
        ("budget_ms", math.nan, "budget_ms: nan is outside"),
        ("budget_ms", "fast", "budget_ms: 'fast' is not of type float"),
        ("budget_ms", True, "budget_ms: True is not of type float"),
        ("threads", 1.5, "threads: 1.5 is not of type int"),
        ("threads", -1, "threads: -1 is outside 0 to 256"),
        ("enabled", 1, "enabled: 1 is not of type bool"),
        ("engine", "warp", "engine: 'warp' is not one of auto, onnxruntime"),
        ("cameras", [], "must name at least one camera"),
        ("cameras", ["left", "left"], "each once"),
        ("cameras", ["left", ""], "begin with no digit"),
        ("cameras", ["left eye"], "'left eye' must be letters"),
        ("cameras", [["left"]], "must be a list of text"),
        ("cameras", "left", "is not of type list"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        Config.from_mapping({name: value})


def test_a_whole_number_is_a_float_too() -> None:
    assert Config(budget_ms=50).budget_ms == 50


def test_the_engines_are_those_there_are() -> None:
    from derain_ros.engine import ENGINES

    assert next(f.metadata["choices"] for f in fields(Config) if f.name == "engine") == ENGINES


def test_thresholds_must_not_cross() -> None:
    assert Config(on_score=0.5, off_score=0.5).off_score == 0.5
    with pytest.raises(ConfigError, match=r"off_score: 0\.9 is above on_score \(0\.75\)"):
        Config(off_score=0.9)


def test_no_camera_is_called_as_the_thermal_one() -> None:
    assert Config(cameras=["thermal"]).cameras == ["thermal"]
    with pytest.raises(ConfigError, match="cameras: thermal is the name of the thermal camera"):
        Config(cameras=["left", "thermal"], thermal=True)


def test_an_unknown_setting_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="budget: no such setting; did you mean budget_ms?"):
        Config.from_mapping({"budget": 10.0})
