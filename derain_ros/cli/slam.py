"""`derain evaluate slam`: what a real SLAM finds on dry, wet, restored and masked views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from derain_ros.cli.replay import AllFrames, Cameras, Models, named_cameras

if TYPE_CHECKING:
    from derain_ros.replay import topics
    from derain_ros.replay.account import Account
    from derain_ros.replay.bag import BagReader

DROPS = ("raindrop heavy", "raindrop photograph", "raindrop spray")
AMOUNTS = (0.12, 0.2, 0.4)
"""What is on a folder's lenses where nothing is named."""


def command(
    source: Annotated[
        Optional[Path],
        typer.Argument(
            metavar="[BAG|FOLDER]",
            help="A bag, or a folder in KITTI format: image_l, image_r, calib.txt, poses.txt; the project's own drive "
            "by default.",
        ),
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder to write: slam.json, slam.md, slam.html, and each trajectory in TUM and KITTI format."
        ),
    ] = None,
    plan: Annotated[
        Optional[list[str]], typer.Option(help="Rung of the ladder; repeatable; all by default, auto with --live.")
    ] = None,
    masked: Annotated[
        bool,
        typer.Option("--masked/--no-masked", help="Also run on views whose detail under the widened mask is removed."),
    ] = True,
    all_frames: AllFrames = False,
    anomaly: Annotated[
        Optional[list[str]],
        typer.Option(
            help="For a folder: what is on the lenses, such as 'raindrop spray', 'dirt film' or streak; repeatable; "
            "heavy, photograph and spray drops by default."
        ),
    ] = None,
    amount: Annotated[
        Optional[list[float]],
        typer.Option(
            min=0.0,
            max=0.99,
            help="For a folder: covered share of the glass, or intensity of falling rain; repeatable; 0.12, 0.2 and "
            "0.4 by default.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=3, help="For a folder: largest number of pairs.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drops.")] = 7,
    dry: Annotated[
        Optional[Path],
        typer.Option(
            metavar="BAG",
            help="For a bag: the same drive with the same stamps and dry lenses; its trajectory is the ground truth if "
            "there is no other.",
        ),
    ] = None,
    truth: Annotated[
        str,
        typer.Option(
            metavar="TOPIC",
            help="For a bag: poses of the robot; found by type by default; none to use no poses.",
        ),
    ] = "",
    camera: Cameras = None,
    live: Annotated[
        bool, typer.Option("--live", help="For a bag: restore it with the node over DDS while it plays, not offline.")
    ] = False,
    rate: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="With --live: speed of playing; 1 is the recorded speed.")
    ] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs on the same views; their results differ.")] = 3,
    vocabulary: Annotated[
        Optional[Path], typer.Option(help="Vocabulary of ORB-SLAM3; by default a small one is made from the images.")
    ] = None,
    slam_python: Annotated[
        Optional[Path],
        typer.Option(
            help="A Python with pyorbslam3; by default $DERAIN_SLAM_PYTHON, or a new environment in the cache folder, "
            "with the wheel from PyPI."
        ),
    ] = None,
    models: Models = None,
) -> None:
    """ORB-SLAM3 on dry, wet, restored and masked views, side by side: tracked share, right steps, ATE and RPE.

    ORB-SLAM3 is under the GPL, so it runs as a separate program in a separate environment. The images of a folder get
    synthetic drops or dirt, different ones on each camera. A bag is used as it is, and restored offline or by the node.

    Examples:

      derain evaluate slam data/kitti_stereo/sequence_1 --all-frames --output slam

      derain evaluate slam --anomaly "raindrop heavy" --amount 0.3 --repeats 1

      derain evaluate slam rainy --dry dry --output slam

      derain evaluate slam rainy --live
    """
    is_folder = source is None or (source / "image_l").is_dir()
    if is_folder and (dry or truth or camera or live):
        raise typer.BadParameter("--dry, --truth, --camera and --live need a bag, not a folder")
    if not is_folder and (anomaly or amount):
        raise typer.BadParameter("--anomaly and --amount need a folder; a bag is used as it is")
    if live:
        import rclpy  # noqa: F401  the wheels of ROS 2 start this process anew, so before any work

    from derain_ros.cli import progress
    from derain_ros.config import PLANS
    from derain_ros.evaluate.slam.environment import interpreter
    from derain_ros.evaluate.slam.sources import Way, of_bag, of_folder
    from derain_ros.rain.weather import ANOMALIES
    from derain_ros.replay import files
    from derain_ros.report import slam as report

    for option, given, known in (("--plan", plan, PLANS), ("--anomaly", anomaly, ANOMALIES)):
        if unknown := [name for name in given or () if name not in known]:
            raise typer.BadParameter(f"{unknown[0]!r}: must be one of {', '.join(known)}", param_hint=option)
    for bag in (None if is_folder else source, dry):
        if bag is not None:
            files.find(bag)
    console = progress.output_console()

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    python = interpreter(slam_python, tell)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="derain") as place:
        way = Way(python, vocabulary, repeats, masked, output, Path(place), tell)
        if is_folder:
            cases = [(name, share) for share in amount or AMOUNTS for name in anomaly or DROPS]
            study = of_folder(source, frames, seed, cases, plan or PLANS, models, all_frames, way)
        else:
            assert source is not None
            makers = _restorers(plan or (["auto"] if live else PLANS), models, all_frames, live, rate)
            study = of_bag(source, named_cameras(camera), dry, truth, makers, models, way)
    progress.show(console, [report.table(study)])
    for note in report.notes(study):
        tell(note)
    if output is not None:
        (output / "slam.md").write_text(report.markdown(study), encoding="utf-8")
        report.write(output / "slam.html", study)
        tell(f"written: {output}")


def _restorers(
    plans: Sequence[str], models: Path | None, all_frames: bool, live: bool, rate: float
) -> dict[str, Callable[[BagReader, Path, topics.Cameras], Account]]:
    """By name, what writes a restored bag beside another one: offline by each plan, or by the node, which chooses among
    the plans from there on."""
    from importlib.util import find_spec

    from derain_ros.config import Config
    from derain_ros.manifest import Manifest
    from derain_ros.replay.child import join_own_domain
    from derain_ros.replay.offline import replay
    from derain_ros.replay.player import play
    from derain_ros.runtime.pipeline import Pipeline

    def offline(plan: str, reader: BagReader, output: Path, cameras: topics.Cameras) -> Account:
        fast = "openvino" if find_spec("openvino") else "onnxruntime"
        pipeline = Pipeline(
            Config(cameras=list(cameras.images), plan=plan, gating=not all_frames, engine=fast), Manifest.load(models)
        )
        pipeline.load()
        return replay(reader, output, cameras, pipeline)

    def by_node(plan: str, reader: BagReader, output: Path, cameras: topics.Cameras) -> Account:
        join_own_domain()
        config = Config(cameras=list(cameras.images), plan=plan, gating=not all_frames)
        return play(reader, output, cameras, config, models, rate)

    return {f"live {plan}" if live else plan: partial(by_node if live else offline, plan) for plan in plans}
