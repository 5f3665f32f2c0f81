"""`--fail-if`: limits on the figures of a record, and the exit code of a command that checks them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from derain_ros.replay.record import Record
    from derain_ros.report.limits import Limit

FailIf = Annotated[
    Optional[list[str]],
    typer.Option(
        metavar="LIMIT",
        help="Exit with code 1 if this is true, such as 'p99_ms > 50'; repeatable. docs/benchmarks.md lists the names.",
    ),
]


def read_limits(texts: Optional[Iterable[str]]) -> list[Limit]:
    """The limits of the option, BadParameter where one is none: to be told before the work, not after it."""
    from derain_ros.report.limits import LimitError, limits_of

    try:
        return limits_of(texts or ())
    except LimitError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-if") from error


def hold(record: Record, limits: list[Limit]) -> None:
    """Tell each limit that the record breaks, and exit with code 1 where there is one."""
    from derain_ros.report.limits import broken

    told = broken(record, limits)
    for text in told:
        typer.secho(f"derain: broken limit {text}", fg=typer.colors.RED, err=True)
    if told:
        raise typer.Exit(1)
