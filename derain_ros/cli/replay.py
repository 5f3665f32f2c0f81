"""`derain replay`: a recorded bag through the pipeline or through the node."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from derain_ros.replay import topics
    from derain_ros.replay.bag import BagReader

Cameras = Annotated[
    Optional[list[str]],
    typer.Option(
        metavar="NAME=TOPIC",
        help="A camera's image topic; once for each camera. Found by type by default; NAME=none if there is no such "
        "camera.",
    ),
]
Thermal = Annotated[
    str,
    typer.Option(metavar="TOPIC", help="The thermal image topic; found by name by default; none if there is none."),
]
Models = Annotated[Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")]
Parameters = Annotated[
    Optional[Path],
    typer.Option(
        help="Parameters file of the node, like config/derain.yaml; cameras and thermal are taken from the bag, and "
        "offline there is no budget."
    ),
]
Plan = Annotated[
    str,
    typer.Option(help="quality, balanced or light; auto is the best one; live, the best one that keeps up."),
]
AllFrames = Annotated[
    bool, typer.Option("--all-frames", help="Restore every frame, also clean ones and those behind dirt.")
]


def named_cameras(given: Optional[list[str]]) -> dict[str, str]:
    """Topics by the names of cameras, of `NAME=/TOPIC` or `NAME=none` each."""
    named = {}
    for entry in given or []:
        name, _, topic = entry.partition("=")
        if not name.isidentifier() or not (topic.startswith("/") or topic == "none"):
            raise typer.BadParameter(
                f"{entry}: write it as NAME=/TOPIC, for instance left=/cam0/image_raw, or as NAME=none"
            )
        if name in named:
            raise typer.BadParameter(f"{entry}: {name} is named twice")
        if name == "thermal":
            raise typer.BadParameter(f"{entry}: the thermal camera is named with --thermal")
        named[name] = topic
    return named


def settings_of(
    config: Path | None, models: Path | None, all_frames: bool, plan: str
) -> tuple[dict[str, Any], Path | None]:
    """The settings of a file of the node's parameters, changed by these options, and the directory of models."""
    from derain_ros.config import read_parameters

    known = {} if config is None else read_parameters(config)
    named_models = known.pop("models", "")
    known.pop("use_sim_time", None)
    known |= ({"gating": False} if all_frames else {}) | ({"plan": plan} if plan else {})
    return known, models or (Path(named_models) if named_models else None)


def tell_cameras(tell: Callable[[str], None], reader: BagReader, cameras: topics.Cameras) -> None:
    """Tell which topics are the cameras, and what of the bag is not used."""
    chosen = ", ".join(f"{name} {topic.name}" for name, topic in cameras.images.items())
    tell(f"cameras: {chosen}" + (f"; thermal {cameras.thermal}" if cameras.thermal else ""))
    if cameras.unused:
        tell(f"other images: {', '.join(cameras.unused)}")
    if reader.left_out:
        odd = ", ".join(f"{name} ({encoding})" for name, encoding in reader.left_out.items())
        tell(f"left out, because ROS 2 plays only messages in CDR: {odd}")


def command(
    bag: Annotated[Path, typer.Argument(help="A ROS 2 bag: its directory, or one of its files.")],
    output: Annotated[Path, typer.Option(help="Directory of the bag to write; it must not exist.")],
    camera: Cameras = None,
    thermal: Thermal = "",
    live: Annotated[bool, typer.Option("--live", help="Play through the node in another process, over DDS.")] = False,
    rate: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="With --live: speed of playing; 1 is the recorded speed.")
    ] = 1.0,
    models: Models = None,
    config: Parameters = None,
    plan: Plan = "",
    all_frames: AllFrames = False,
) -> None:
    """Restore the images of a recorded bag.

    Writes an MCAP bag with every topic of the input and, beside them, /derained/<camera>/image_raw, camera_info and
    anomaly_mask, /derain/status and /derain/anomaly. Cameras are found by type: the topics whose names differ in left
    and right, else the first two by name, as left and right. A topic given with --camera or --thermal is used for that
    camera only, whatever its name is. A damaged bag is read up to the damage, and the reason is printed.

    Offline (the default) every affected frame is restored with the best plan. With --live the node has to keep up as on
    the robot: frames may be passed on or dropped. It runs in a separate DDS domain, so that no node of a robot receives
    the bag's images.

    Examples:

      derain replay drive --output cleaned

      derain replay drive.mcap --output cleaned --camera left=/cam0/image_raw --camera right=/cam1/image_raw

      derain replay drive --output cleaned --camera right=none --thermal none

      derain replay drive --output cleaned --live --rate 0.5
    """
    if rate != 1.0 and not live:
        raise typer.BadParameter("--rate needs --live; offline runs as fast as the machine allows")
    named = named_cameras(camera)
    if live:
        import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    from rich.markup import escape

    from derain_ros.cli import progress
    from derain_ros.config import Config
    from derain_ros.manifest import Manifest
    from derain_ros.replay import topics
    from derain_ros.replay.bag import BagReader
    from derain_ros.replay.offline import OFFLINE
    from derain_ros.replay.origin import origin_of
    from derain_ros.replay.player import LIVE
    from derain_ros.replay.record import Record
    from derain_ros.replay.shown import fused_pictures, restored_pictures
    from derain_ros.report import page
    from derain_ros.report.tables import actions_table, frames_table, fusion_table, latency_table

    console = progress.output_console()
    known, folder = settings_of(config, models, all_frames, plan)

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with BagReader(bag) as reader, progress.steps(console) as step:
        cameras = topics.choose(reader.topics, named, thermal)
        tell_cameras(tell, reader, cameras)
        known |= {"cameras": list(cameras.images), "thermal": bool(cameras.thermal)}
        fast = {} if live else {"engine": "openvino" if find_spec("openvino") else "onnxruntime"}
        settings = Config.from_mapping(fast | known)
        if live:
            from derain_ros.replay.child import join_own_domain
            from derain_ros.replay.player import play

            join_own_domain()
            account = play(reader, output, cameras, settings, folder, rate, step("Playing through the node"))
        else:
            from derain_ros.replay.offline import replay
            from derain_ros.runtime.pipeline import Pipeline

            pipeline = Pipeline(settings, Manifest.load(folder))
            pipeline.load()
            account = replay(reader, output, cameras, pipeline, step("Restoring"), tell)
        inputs = {name: topic.name for name, topic in cameras.images.items()}
        pictures = restored_pictures(output, inputs, account, step("Looking at the results"))
        pictures += fused_pictures(output, cameras) if account.fusion["fused"] else []
        title, timed = f"derain: {bag.name}", LIVE if live else OFFLINE
        record = Record(title, timed, account, pictures, origin=origin_of(bag, folder, settings))
    record.save(output / "record.json")
    page.write(output / "report.html", record)
    fusion = [fusion_table(account)] if account.fusion else []
    progress.show(
        console, [frames_table(account), actions_table(account), *fusion, latency_table(account, record.timed)]
    )
    for note in (*account.notes, account.damage):
        if note:
            console.print(f"[yellow]{escape(note)}[/yellow]", soft_wrap=True, highlight=False)
    console.print(f"written: {output}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"report:  {(output / 'report.html').resolve()}", soft_wrap=True, highlight=False, markup=False)
