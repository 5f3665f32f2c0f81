"""Parameters of the node, made from the fields of Config: one default, one description, one range."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable
from dataclasses import Field, fields
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from derain_ros.config import Config, ConfigError

QOS = "qos_overrides."
OF_RCLPY = (f"{QOS}/clock.", f"{QOS}/parameter_events.")
"""How the parameters begin that rclpy declares by itself, when it wants them."""
LISTS = (Parameter.Type.STRING_ARRAY, Parameter.Type.DOUBLE_ARRAY, Parameter.Type.INTEGER_ARRAY)
MODELS = "models"
MODELS_HELP = "Directory with the models and their models.yaml; empty takes the ones that came with the package."


def declare(node: Node) -> Config:
    """Declare every setting, and `models`, as a parameter of `node`; returns the settings it was started with.

    Raises ConfigError, or rclpy's ParameterException, where a value given at start cannot be used.
    """
    node.declare_parameter(MODELS, "", ParameterDescriptor(description=MODELS_HELP, read_only=True))
    for field in fields(Config):
        given = node._parameter_overrides.get(field.name)
        if str(field.type).startswith("list") and given is not None and given.type_ == Parameter.Type.STRING:
            raise ConfigError(f'{field.name}: it is a list: write {field.name}:="[{given.value}]"')
        node.declare_parameter(field.name, _default(field), descriptor(field))
    # ROS 2 says nothing of a name that is written wrongly.
    for name in _unknown(node):
        if not name.startswith(QOS):
            node.get_logger().warning(f"{name}: there is no such parameter; it is ignored")
    return Config(**{field.name: _value(node.get_parameter(field.name)) for field in fields(Config)})


def warn_of_qos(node: Node) -> None:
    """Warn of parameters of the quality of service that the node was given in vain, once all its topics are there."""
    for name in _unknown(node):
        if name.startswith(QOS):
            known = sorted(each for each in node._parameters if each.startswith(QOS))
            (near,) = get_close_matches(name, known, 1, 0.0)
            node.get_logger().warning(f"{name}: there is no such parameter, it is ignored; did you mean {near}?")


def descriptor(field: Field[Any]) -> ParameterDescriptor:
    """Description, range and read-only flag of a setting, as `ros2 param describe` shows them."""
    meta = field.metadata
    found = ParameterDescriptor(
        description=_describe(field), read_only=meta["read_only"], additional_constraints=_choices(field)
    )
    if field.type == "list[float]":
        found.dynamic_typing = True  # lists of whole numbers are of another type
    elif field.type == "float":
        # Dynamic typing lets a user write 100 for 100.0; `changed` checks what the range does not.
        found.dynamic_typing = True
        found.floating_point_range = [FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))]
    elif field.type == "int":
        found.integer_range = [IntegerRange(from_value=meta["low"], to_value=meta["high"], step=1)]
    return found


def changed(config: Config, parameters: Iterable[Parameter]) -> Config:
    """`config` with the values of these parameters; others than settings are ignored. Raises ConfigError."""
    names = {field.name for field in fields(Config)}
    return dataclasses.replace(config, **{p.name: _value(p) for p in parameters if p.name in names})


def check(config: Config, parameters: Iterable[Parameter]) -> SetParametersResult:
    """Whether `config` may have the values of these parameters, and why not."""
    try:
        changed(config, parameters)
    except ConfigError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def yaml_text() -> str:
    """The text of config/derain.yaml: every parameter with its meaning and default."""
    lines = [
        "# Every parameter with its default. Those marked read-only are set at start.",
        "/**:",
        "  ros__parameters:",
    ]
    entries = [(MODELS, "", f"{MODELS_HELP} Read-only.")]
    for f in fields(Config):
        comment = (_describe(f), _choices(f), _range(f), "Read-only." if f.metadata["read_only"] else "")
        entries.append((f.name, _default(f), " ".join(filter(None, comment))))
    for name, default, text in entries:
        lines += textwrap.wrap(text, 110, initial_indent="    # ", subsequent_indent="    # ", break_on_hyphens=False)
        lines.append(f"    {name}: {json.dumps(default)}")
    return "\n".join(lines) + "\n"


def _unknown(node: Node) -> list[str]:
    """The names of what the node was given at start and does not know."""
    return [
        name for name in node._parameter_overrides if not node.has_parameter(name) and not name.startswith(OF_RCLPY)
    ]


def _describe(field: Field[Any]) -> str:
    unit = field.metadata["unit"]
    return field.metadata["help"] + (f" Unit: {unit}." if unit else "")


def _choices(field: Field[Any]) -> str:
    choices = field.metadata["choices"]
    return f"One of {', '.join(choices)}." if choices else ""


def _range(field: Field[Any]) -> str:
    meta = field.metadata
    return f"From {meta['low']} to {meta['high']}." if meta["low"] is not None else ""


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def _value(parameter: Parameter) -> Any:
    value = parameter.value
    # rclpy hands lists out as array.array or tuple, as their type goes.
    return list(value) if parameter.type_ in LISTS else value
