from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from waiting import wait_for

from derain_ros.config import Config, ConfigError
from derain_ros.ros.node import DerainNode
from derain_ros.ros.parameters import yaml_text

CONFIG = Path(__file__).parents[2] / "config"


def declared(context: Any, **values: Any) -> DerainNode:
    overrides = [Parameter(name, value=value) for name, value in ({"autostart": False} | values).items()]
    return DerainNode(context=context, parameter_overrides=overrides)


def test_every_setting_is_a_parameter_with_its_default_and_meaning(context: Any) -> None:
    node = declared(context)
    for field in fields(Config):
        default = getattr(Config(), field.name) if field.name != "autostart" else False
        assert node.get_parameter(field.name).value == default
        descriptor = node.describe_parameter(field.name)
        assert field.metadata["help"] in descriptor.description
        assert descriptor.read_only == field.metadata["read_only"]
        for bounds in (*descriptor.floating_point_range, *descriptor.integer_range):
            assert (bounds.from_value, bounds.to_value) == (field.metadata["low"], field.metadata["high"])
        ranged = bool(descriptor.floating_point_range or descriptor.integer_range)
        assert ranged == (field.metadata["low"] is not None)
    assert "onnxruntime" in node.describe_parameter("engine").additional_constraints
    assert node.get_parameter("models").value == ""
    node.destroy_node()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"budget_ms": 0.5}, "budget_ms"),
        ({"budget_ms": 20000}, "budget_ms"),
        ({"engine": "magic"}, "onnxruntime"),
        ({"cameras": ["left", "left"]}, "cameras"),
        ({"cameras": "left"}, r'write cameras:="\[left\]"'),
        ({"on_score": 0.1}, "off_score"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
def test_a_node_does_not_start_with_a_bad_value(context: Any, values: dict[str, Any], reason: str) -> None:
    with pytest.raises((ConfigError, ParameterException), match=reason):
        declared(context, **values)


def test_a_parameter_that_is_not_there_is_warned_of(context: Any, capfd: pytest.CaptureFixture[str]) -> None:
    good, vain = (f"qos_overrides./left/{name}.subscription.reliability" for name in ("image_raw", "image"))
    node = declared(
        context, budget=100, **{"qos_overrides./clock.subscription.depth": 1, vain: "reliable", good: "reliable"}
    )
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    wait_for(lambda: not node.engine.startswith("loading"), "the models")
    node.destroy_node()
    told = capfd.readouterr().err
    assert "budget: there is no such parameter" in told
    assert f"{vain}: there is no such parameter, it is ignored; did you mean {good}?" in told
    assert "/clock" not in told and f"{good}:" not in told


def test_a_whole_number_will_do_for_a_real_one(context: Any) -> None:
    node = declared(context, budget_ms=100)
    assert node._config.budget_ms == 100
    node.destroy_node()


def test_the_parameter_file_is_what_the_settings_make_of_it() -> None:
    assert (CONFIG / "derain.yaml").read_text(encoding="utf-8") == yaml_text(), (
        "write it anew: python -c 'from derain_ros.ros.parameters import yaml_text; print(yaml_text(), end=\"\")'"
        " > config/derain.yaml"
    )


def test_the_parameter_file_holds_every_default() -> None:
    values = yaml.safe_load(yaml_text())["/**"]["ros__parameters"]
    assert values.pop("models") == ""
    assert Config.from_mapping(values) == Config() and len(values) == len(fields(Config))
    assert max(map(len, yaml_text().splitlines())) <= 120


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.name)
def test_every_parameter_file_can_be_used(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    values.pop("models", None)
    Config.from_mapping(values)
