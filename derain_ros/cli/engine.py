"""`derain engine`: what runs the networks on this machine; compiled engines; a self-test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(no_args_is_help=True, help="Engines, which run the networks: build, list, clear, selftest.")

MODELS = Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")]
NAMES = Annotated[
    Optional[list[str]], typer.Argument(metavar="[MODEL]...", help="Names in the manifest.", show_default=False)
]
SIZE = Annotated[str, typer.Option(help="Width and height of the camera's frames.")]
BATCH = Annotated[int, typer.Option(min=1, help="Cameras that are restored together.")]
THREADS = Annotated[int, typer.Option(min=0, help="Threads of the networks; 0 takes every core.")]


@app.command()
def build(
    names: NAMES = None,
    engine: Annotated[str, typer.Option(help="An engine, or auto: measure all and store the best one.")] = "auto",
    size: SIZE = "720x540",
    batch: BATCH = 2,
    threads: THREADS = 0,
    plan: Annotated[
        Optional[Path],
        typer.Option(help="An engine that trtexec built for MODEL on this GPU: check it and store it in the cache."),
    ] = None,
    models: MODELS = None,
) -> None:
    """Prepare engines for frames of a size ahead of time, so that the node starts with them.

    Without MODEL, it prepares all models.

    Examples:

      derain engine build --size 640x480

      derain engine build restore_mono --engine tensorrt --plan restore_mono.plan
    """
    from derain_ros.bench.frames import precisions, shape_for
    from derain_ros.engine import EngineError, load
    from derain_ros.engine.auto import choose

    width, height = _size(size)
    chosen = _models(models, names)
    if plan is not None:
        if engine not in ("auto", "tensorrt") or len(chosen) != 1:
            raise typer.BadParameter("name exactly one MODEL, and use --engine tensorrt", param_hint="--plan")
        from derain_ros.engine.tensorrt import TensorRtEngine

        with _progress() as tell:
            file = TensorRtEngine(chosen[0], tell).accept(plan, shape_for(chosen[0], batch, height, width))
        typer.echo(f"{plan} fits {chosen[0].name} and is stored as {file}")
        return
    failed = False
    for group in precisions(chosen):
        shape = shape_for(group[0], batch, height, width)
        try:
            with _progress() as tell:
                if engine == "auto":
                    choice = choose(group, shape, engine, threads, tell)
                    typer.echo(f"{group[0].name}: {choice.why}")
                    continue
                for model in group:
                    load(model, engine, threads, tell=tell).prepare(shape)
                    typer.echo(f"{model.name}: ready by {engine} for {'x'.join(map(str, shape))}")
        except EngineError as error:
            failed = True
            typer.secho(f"{group[0].name}: {error}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1 if failed else 0)


@app.command("list")
def list_() -> None:
    """List the stored compiled engines and the stored choices.

    Example: derain engine list
    """

    from rich.table import Table

    from derain_ros.engine.auto import MOST_CHOICE_BYTES
    from derain_ros.engine.cache import entries, folder
    from derain_ros.files import parse_json, read_file

    table = Table("model", "engine", "precision", "shape", "device", "version", "size")
    for entry in entries():
        size = f"{entry.bytes / 1e6:.1f} MB"
        if entry.key is None:
            table.add_row(entry.file.name, entry.damage or "stored by its library", "", "", "", "", size)
        else:
            key = entry.key
            table.add_row(
                key.model, key.engine, key.precision, "x".join(map(str, key.shape)), key.device, key.version, size
            )
    console = _console()
    console.print(table)
    for file in sorted(folder().glob("choice-*.json")):
        try:
            known = parse_json(read_file(file, MOST_CHOICE_BYTES))
            told = f"chosen for {'x'.join(map(str, known['shape']))}: {known['why']}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            told = f"{file.name} is damaged ({error!r}) and will be written again"
        console.print(told, soft_wrap=True, markup=False, highlight=False)
    console.print(str(folder()), soft_wrap=True, markup=False, highlight=False)


@app.command()
def clear() -> None:
    """Remove all stored engines and choices; engines are built and measured again when they are needed.

    Example: derain engine clear
    """
    from derain_ros.engine.cache import clear as remove
    from derain_ros.engine.cache import folder

    typer.echo(f"{remove()} engines removed from {folder()}")


@app.command()
def onnx(
    model: Annotated[str, typer.Argument(help="Name in the manifest.")],
    output: Annotated[Path, typer.Argument(help="File to write.")],
    size: SIZE = "720x540",
    batch: BATCH = 2,
    models: MODELS = None,
) -> None:
    """Write the graph that TensorRT builds an engine from: fixed shape, uint8 only at the ends, symmetric int8.

    Examples:

      derain engine onnx restore_mono restore.onnx

      trtexec --onnx=restore.onnx --fp16 --saveEngine=restore.plan
    """
    from derain_ros.bench.frames import shape_for
    from derain_ros.engine.gpu_graph import for_gpu
    from derain_ros.engine.images import padded_shape, read_model

    (entry,) = _models(models, [model])
    width, height = _size(size)
    output.write_bytes(for_gpu(read_model(entry), padded_shape(entry, shape_for(entry, batch, height, width))))
    typer.echo(f"{output} written")


@app.command()
def selftest(
    names: NAMES = None,
    size: SIZE = "720x540",
    batch: BATCH = 2,
    models: MODELS = None,
) -> None:
    """Compare every engine that loads here with ONNX Runtime on the processor, on wet frames, and time it.

    Without MODEL, it tests the detector and the grey restorers of the plan balanced. It says which engines are missing
    and how to install them. Exit code 1 if an engine fails or its outputs differ from the reference.

    Example: derain engine selftest
    """
    from rich.table import Table

    from derain_ros.bench.selftest import try_engines

    width, height = _size(size)
    chosen = _models(models, names)
    if not names:
        chosen = [m for m in chosen if m.task == "detect" or (m.plan, m.channels, m.serves) == ("balanced", 1, ())]
    console = _console()
    with _progress() as tell:
        trials = try_engines(chosen, batch, height, width, tell)
    table = Table("model", "engine", "device", "precision", "error", "ms a batch", "agrees")
    for trial in (t for t in trials if not t.missing):
        error = "" if trial.error_levels != trial.error_levels else f"{trial.error_levels:.2f}"
        table.add_row(
            trial.model,
            trial.engine,
            trial.device,
            trial.precision,
            error,
            "" if trial.ms != trial.ms else f"{trial.ms:.1f}",
            trial.fault or "yes",
        )
    console.print(table)
    for engine, missing in {t.engine: t.missing for t in trials if t.missing}.items():
        console.print(f"not available: {engine}: {missing}", soft_wrap=True, markup=False, highlight=False)
    faults = [t for t in trials if t.fault]
    console.print(
        f"{len(faults)} of {sum(not t.missing for t in trials)} trials failed."
        if faults
        else "Every engine that loads here agrees with the reference.",
        highlight=False,
    )
    raise typer.Exit(1 if faults else 0)


def _models(directory: Optional[Path], names: Optional[list[str]]) -> list[Any]:
    """The verified models of these names, or all."""
    from derain_ros.manifest import Manifest

    manifest = Manifest.load(directory)
    chosen = [manifest.get(name) for name in names] if names else list(manifest.models.values())
    for model in chosen:
        manifest.verify(model)
    return chosen


def _size(text: str) -> tuple[int, int]:
    """Width and height of `720x540`."""
    try:
        width, height = (int(part) for part in text.split("x"))
        if width < 1 or height < 1:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a size; write it as WIDTHxHEIGHT, such as 720x540", param_hint="--size"
        ) from None
    return width, height


def _console() -> Any:
    from derain_ros.cli.progress import output_console

    return output_console()


@contextmanager
def _progress() -> Iterator[Any]:
    """A line that says what is being done; gives the function that is told it."""
    from rich.console import Console

    with Console(stderr=True).status("loading") as status:
        yield lambda text: status.update(text.replace("[", r"\["))
