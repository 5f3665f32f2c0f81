"""`derain models`: what models there are and whether they are whole."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def command(
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its sha256.")] = False,
    models: Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by "
                                                   "default.")] = None,
) -> None:
    """List the models and verify them.

    With --verify, exit code 1 where a file is damaged or missing.

    Examples:

      derain models

      derain models --verify

      derain models --models runs/my_models
    """
    from rich.console import Console
    from rich.table import Table

    from derain_ros.manifest import Manifest, ManifestError
    manifest = Manifest.load(models)
    table = Table("name", "task", "channels", "size", "figures", "verified")
    damages = []
    for model in manifest.models.values():
        size = f"{model.file.stat().st_size / 1e6:.1f} MB" if model.file.is_file() else "missing"
        verified = ""
        if verify:
            try:
                manifest.verify(model)
                verified = "yes"
            except ManifestError as error:
                verified = "no"
                damages.append(str(error))
        figures = "\n".join(f"{name} {value}" for name, value in model.figures.items())
        table.add_row(model.name, model.task, "grey" if model.channels == 1 else "colour", size, figures, verified)
    console = Console()
    console.print(table)
    console.print(str(manifest.directory), soft_wrap=True, markup=False, highlight=False)
    if damages:
        raise ManifestError("\n".join(damages))
