"""`derain bench`: how fast the networks and the node are on this machine."""

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli import bench_replay, bench_soak

app = typer.Typer(
    invoke_without_command=True,
    help="Time engines, models, sizes and batches; compare two results; time the node over DDS and on a bag.",
)
app.command("replay")(bench_replay.command)
app.command("soak")(bench_soak.command)

OUTPUT = Annotated[
    Optional[Path], typer.Option(help="Write OUTPUT.json and OUTPUT.md, and OUTPUT.svg where matplotlib is installed.")
]
MODELS = Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")]


@app.callback()
def bench(
    context: typer.Context,
    model: Annotated[Optional[list[str]], typer.Option(help="A model; repeatable; all models by default.")] = None,
    engine: Annotated[
        Optional[list[str]], typer.Option(help="An engine; repeatable; all that load by default.")
    ] = None,
    size: Annotated[
        Optional[list[str]], typer.Option(help="Width and height of the frames; repeatable; 720x540 by default.")
    ] = None,
    batch: Annotated[
        Optional[list[int]], typer.Option(min=1, help="Images in a batch; repeatable; 2 by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the networks; 0 takes every core.")] = 0,
    repeats: Annotated[int, typer.Option(min=3, help="Measured turns.")] = 30,
    warm_up: Annotated[int, typer.Option(min=0, help="Warm-up turns, which are not measured.")] = 5,
    networks: Annotated[
        bool,
        typer.Option(
            "--networks",
            help="Time the published networks and ours with random weights, not models; needs the extra `train`.",
        ),
    ] = False,
    peak: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="With --networks: peak of the device as its maker states it, in TOP/s; the share reached is shown.",
        ),
    ] = 0.0,
    output: OUTPUT = None,
    models: MODELS = None,
) -> None:
    """Time engines x models x sizes x batches in turns: medians, spread, memory, and energy where it can be measured.

    Examples:

      derain bench --model restore_mono_int8 --batch 1 --batch 2

      derain bench --size 640x480 --output today

      derain bench compare yesterday.json today.json

      derain bench node --rate 10 --rate 20

      derain bench replay drive --highest

      derain bench soak --hours 1
    """
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from derain_ros.bench import record, speed
    from derain_ros.cli.progress import check_output, steps
    from derain_ros.engine import ENGINES
    from derain_ros.engine.machine import this_machine
    from derain_ros.manifest import Manifest

    check_output(output)
    console = Console(stderr=True)
    sizes = [_size(text) for text in size or ["720x540"]]
    engines, batches = engine or list(ENGINES[1:]), batch or [2]

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    with steps(console) as step:
        if networks:
            from derain_ros.papers.networks import contenders

            wanted = contenders(engines, sizes, batches, threads, tell, step("exporting"))
        else:
            manifest = Manifest.load(models)
            chosen = [manifest.get(name) for name in model] if model else list(manifest.models.values())
            for entry in chosen:
                manifest.verify(entry)
            wanted = speed.contenders(chosen, engines, sizes, batches, threads, tell)
        cases, failures = speed.measure(wanted, repeats, warm_up, step("loading"), step("measuring"))
    result = record.EngineRecord(cases, this_machine(threads), failures)
    text = record.markdown(result, peak)
    typer.echo(text)
    if output is not None:
        result.save(Path(f"{output}.json"))
        Path(f"{output}.md").write_text(text + "\n", encoding="utf-8")
        if not record.plot(result, Path(f"{output}.svg")):
            console.print("no plot: matplotlib is not installed", highlight=False)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="JSON file of `derain bench --output`, or the record of a replay.")],
    after: Annotated[str, typer.Argument(help="Another one of the same kind.")],
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="For replays: exit code 1 if something got significantly worse.")
    ] = False,
) -> None:
    """Compare two results of `derain bench`, or two records of `derain bench replay` or `derain replay`.

    Between results of engines, a difference counts if the spreads do not overlap. Between replays, each difference has
    a 95 % confidence interval (bootstrap); frames are paired by stamp if both records are of one bag. To compare
    several runs, three or more on each side, give two patterns: the interval (Welch) then includes how much runs vary.

    Examples:

      derain bench compare yesterday.json today.json

      derain bench compare 'main*.json' 'branch*.json'
    """
    from glob import glob, has_magic

    from derain_ros.bench import BenchError, record
    from derain_ros.bench.compare import compare as compare_replays
    from derain_ros.bench.compare import is_replay
    from derain_ros.replay.record import Record

    sides = [[Path(name) for name in sorted(glob(given))] or [Path(given)] for given in (before, after)]
    for given, [first, *_] in zip((before, after), sides, strict=True):
        if has_magic(given) and not first.exists():
            raise BenchError(f"{given}: no file matches")
    kinds = {is_replay(path) for paths in sides for path in paths}
    if len(kinds) > 1:
        raise BenchError(f"{before} and {after}: only one is the record of a replay; compare two of a kind")
    if kinds == {True}:
        text, worse = compare_replays(*([Record.read(path) for path in paths] for paths in sides))
        typer.echo(text)
        if fail_if_worse and worse:
            raise BenchError(f"worse: {'; '.join(worse)}")
    elif max(map(len, sides)) > 1:
        raise BenchError(
            f"{before} and {after}: several files on a side can be compared for replays only; name one file for each"
        )
    else:
        typer.echo(record.compare(*(record.EngineRecord.read(path) for [path] in sides)))


@app.command()
def node(
    rate: Annotated[
        Optional[list[float]],
        typer.Option(min=0.1, help="Pairs per second; repeatable; 5, 10, 15, 20, 25 and 30 by default."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Seconds at each rate.")] = 20.0,
    size: Annotated[str, typer.Option(help="Width and height of the frames.")] = "720x540",
    load: Annotated[int, typer.Option(min=0, help="Busy processes that run beside the node.")] = 0,
    engine: Annotated[str, typer.Option(help="Engine of the node.")] = "auto",
    restorer: Annotated[str, typer.Option(help="Model of the node; with auto it chooses itself.")] = "auto",
    temporal: Annotated[
        bool, typer.Option(help="Use the temporal filter on restored frames if there is time.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the networks; 0 takes every core.")] = 0,
    output: Annotated[Optional[Path], typer.Option(help="Write OUTPUT.json and OUTPUT.md.")] = None,
    models: MODELS = None,
) -> None:
    """Send wet stereo pairs through the node over DDS and find the highest rate at which every pair is restored.

    Camera, node and receiver are separate processes in a separate DDS domain. The networks' time is the time that the
    node reports for restoring. Each quantile of the latency is divided by the same quantile of the networks' time.

    Example: derain bench node --rate 20 --rate 25 --seconds 600
    """
    import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    height, width = _size(size)
    import json
    from dataclasses import asdict

    from derain_ros.bench.node import highest, measure
    from derain_ros.bench.record import table
    from derain_ros.cli.progress import check_output, output_console, show, steps
    from derain_ros.config import Config
    from derain_ros.engine.machine import this_machine
    from derain_ros.report.tables import Table

    check_output(output)
    config = Config(gating=False, engine=engine, restorer=restorer, temporal=temporal, threads=threads)
    console = output_console()
    rates = sorted(rate or [5.0, 10.0, 15.0, 20.0, 25.0, 30.0])
    with steps(console) as step:
        told = step("through the node")
        results = measure(rates, seconds, height, width, config, models, load, console.print, told)
    header = [
        "Hz",
        "sent at",
        "sent",
        "came",
        "restored",
        "in budget",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "longest gap ms",
        "networks p50",
        "networks p99",
        "p50 / networks",
        "p99 / networks",
        "plans",
        "no loss",
    ]
    rows = [
        [
            f"{r.rate:g}",
            f"{r.sent_rate:.1f}",
            str(r.sent),
            str(r.came),
            str(r.restored),
            f"{r.share_in_budget:.2%}",
            *(f"{r.latency(share):.1f}" for share in (0.5, 0.95, 0.99)),
            f"{r.longest_gap_ms:.0f}",
            *(f"{r.networks(share):.1f}" for share in (0.5, 0.99)),
            *(f"{r.latency(share) / r.networks(share):.2f}" for share in (0.5, 0.99)),
            ", ".join(f"{plan} {n}" for plan, n in r.plans.items()),
            "yes" if r.no_loss else "no",
        ]
        for r in results
    ]
    show(console, [Table("Pairs over DDS", header, rows)])
    best = highest(results)
    verdict = f"Highest rate without loss: {best:g} Hz." if best else "All pairs were restored at none of these rates."
    console.print(verdict, highlight=False)
    if output is not None:
        content = {
            "machine": this_machine(threads),
            "load": load,
            "size": size,
            "budget_ms": config.budget_ms,
            "rates": [asdict(r) for r in results],
        }
        Path(f"{output}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        Path(f"{output}.md").write_text(f"{table(header, rows)}\n\n{verdict}\n", encoding="utf-8")


def _size(text: str) -> tuple[int, int]:
    """Height and width of `720x540`, which gives the width first."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise typer.BadParameter(
            f"{text!r} is not a size; write it as WIDTHxHEIGHT, such as 720x540", param_hint="--size"
        )
    return int(found[2]), int(found[1])
