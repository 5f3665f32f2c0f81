"""`derain models`: what models there are and whether they are whole."""

from pathlib import Path
from typing import Annotated, Optional

import typer

SHOWN = {
    "restore": ("real_psnr_gain", "real_ssim_gain", "real_rain_psnr_gain", "real_rain_ssim_gain", "clean_psnr"),
    "temporal": ("flicker", "settled_flicker", "restored_flicker", "psnr_gain", "mask_iou"),
    "fuse": ("tno_qabf", "tno_vif", "road_qabf", "night_qabf"),
    "segment": ("colour_miou", "grey_miou"),
    "detect": ("real_auroc", "clean_false_alarms", "mask_iou"),
}
"""Figures of the list, by task; all of them stand in the card."""
TAKES = {1: "grey", 3: "colour"}


def command(
    name: Annotated[Optional[str], typer.Argument(help="Show all figures of this model.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its sha256.")] = False,
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """List the models, or show one with all its figures, and verify them.

    With --verify, exit code 1 means that a file is damaged or missing.

    Examples:

      derain models

      derain models restore_mono

      derain models --verify

      derain models --models runs/my_models
    """
    from rich.table import Table

    from derain_ros.cli.progress import output_console
    from derain_ros.manifest import Manifest, ManifestError

    manifest = Manifest.load(models)
    chosen = [manifest.get(name)] if name else list(manifest.models.values())
    table = Table("name", "takes", "size", "figures", *(["whole"] if verify else []))
    damages = []
    for model in chosen:
        size = f"{model.file.stat().st_size / 1e6:.1f} MB" if model.file.is_file() else "missing"
        measured = manifest.figures(model)
        figures = "\n".join(f"{key} {value:.3g}" for key, value in measured.items() if name or key in SHOWN[model.task])
        row = [model.name, TAKES.get(model.channels, "both"), size, figures]
        if verify:
            try:
                manifest.verify(model)
                row.append("yes")
            except ManifestError as error:
                row.append("no")
                damages.append(str(error))
        table.add_row(*row)
    console = output_console()
    console.print(table)
    for model in chosen if name else []:
        console.print(
            f"{model.description}. Card: {manifest.directory / model.card}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    if not name:
        console.print(str(manifest.directory), soft_wrap=True, markup=False, highlight=False)
    if damages:
        raise ManifestError("\n".join(damages))
