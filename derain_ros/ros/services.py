"""Answers to requests that cannot be served."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.service import Service

Callback = Callable[[Any, Any], Any]


def answer_always(node: Node) -> None:
    """Have every service that `node` has by now answer whatever its callback does.

    rclpy sends nothing where a callback raises, as that of change_state does for a transition that is not possible, and
    the client waits for ever. It gets a response that says no where the type can say that, an empty one elsewhere; the
    reason goes to the log, too.
    """
    for service in node.services:
        answer = partial(_answer, node, service, service.callback)
        service.callback = partial(_answer_each, answer) if service.srv_type is SetParameters else answer


def _answer(node: Node, service: Service, callback: Callback, request: Any, response: Any) -> Any:
    try:
        return callback(request, response)
    except Exception as error:
        reason = str(error) or type(error).__name__
        node.get_logger().error(f"{service.srv_name}: the request cannot be served: {reason}")
        # What the callback left in `response` may be half of an answer.
        return _refusal(service.srv_type, reason)


def _answer_each(
    answer: Callback, request: SetParameters.Request, response: SetParameters.Response
) -> SetParameters.Response:
    """Set one parameter after the other: one that cannot be set says nothing of those before and behind it."""
    for parameter in request.parameters:
        one = SetParameters.Request(parameters=[parameter])
        response.results.extend(answer(one, SetParameters.Response()).results)
    return response


def _refusal(kind: Any, reason: str) -> Any:
    """The response of a type of service that says no, and why where there is a place for it."""
    response = kind.Response()
    refused = SetParametersResult(successful=False, reason=reason)
    if kind is SetParameters:
        response.results = [refused]
    elif kind is SetParametersAtomically:
        response.result = refused
    elif hasattr(response, "message"):
        response.message = reason
    # A bool of a message is false from the start: `success` of ChangeState and of SetBool.
    return response
