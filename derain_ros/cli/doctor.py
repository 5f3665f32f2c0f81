"""`derain doctor`: what is installed on this machine, and what to do about what is not."""

import os
import platform
import shutil
import subprocess
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Optional

import typer

from derain_ros.cli.check import Check
from derain_ros.cli.network import discovery, shared_memory, transport

MESSAGES = (
    "sensor_msgs.msg",
    "std_msgs.msg",
    "std_srvs.srv",
    "diagnostic_msgs.msg",
    "lifecycle_msgs.msg",
    "rcl_interfaces.msg",
)
SPEEDS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp")
"""Instructions of the processor that decide how fast a network runs on it."""
ENGINE_BYTES = 16 << 20
"""About as much as a compiled engine takes."""
BAG_BYTES_A_SECOND = 2 * 720 * 540 * 20
"""A raw grey stereo bag of 720x540 at 20 Hz."""


def command(
    models: Annotated[
        Optional[Path], typer.Option(help="Directory with models.yaml; the shipped one by default.")
    ] = None,
) -> None:
    """Say what is installed, what is missing, and how to fix it.

    Checks ROS 2, engines, devices, models, the environment variables for transport and discovery of nodes, and free
    space on the disk. ok: nothing to do. note: the node runs, but something is missing or badly set. lack: the node
    cannot restore; exit code 1.

    Examples:

      derain doctor

      derain doctor --models runs/my_models
    """
    checks = [
        python(),
        ros(),
        engine(),
        *devices(),
        shipped(models),
        transport(),
        discovery(),
        shared_memory(),
        library("replay", "rosbags", "derain replay and derain demo"),
        library("evaluate", "scikit-image", "derain evaluate"),
        library("train", "torch", "derain train, export, quantize and table"),
        faster(),
        kept(),
        disk(),
    ]
    for check in checks:
        state, colour = ("ok", typer.colors.GREEN)
        if check.remedy:
            state, colour = ("lack", typer.colors.RED) if check.needed else ("note", typer.colors.YELLOW)
        typer.echo(f"{typer.style(f'{state:<5}', fg=colour)} {check.subject:<14} {check.found}")
        if check.remedy:
            typer.echo(f"{'':<21}do: {check.remedy}")
    lacks = [check.subject for check in checks if check.remedy and check.needed]
    typer.echo(f"The node cannot restore: see {', '.join(lacks)}." if lacks else "The node can run.")
    raise typer.Exit(1 if lacks else 0)


def python() -> Check:
    """The interpreter and the system under it."""
    return Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def ros() -> Check:
    """rclpy, the distribution, the middleware and the message packages."""
    source = "source /opt/ros/jazzy/setup.bash, or on x86-64 Linux without ROS 2: pip install 'derain_ros[ros]'"
    try:
        from rclpy.utilities import get_rmw_implementation_identifier

        middleware = get_rmw_implementation_identifier()
        for package in MESSAGES:
            import_module(package)
    except ModuleNotFoundError as error:
        return Check("ROS 2", f"{error.name} is not installed", source, needed=True)
    except Exception as error:
        # Libraries of two distributions in one process, or a middleware that RMW_IMPLEMENTATION names and is not there.
        return Check(
            "ROS 2",
            f"rclpy does not load: {error}",
            "open a new terminal and either source ROS 2 or use the wheels, not both; unset RMW_IMPLEMENTATION",
            needed=True,
        )
    distribution = os.environ.get("ROS_DISTRO") or "from wheels"
    return Check("ROS 2", f"{distribution}, {middleware}")


def engine() -> Check:
    """What runs the networks."""
    try:
        import onnxruntime
    except ImportError as error:
        return Check("engine", f"ONNX Runtime does not load: {error}", "pip install 'derain_ros[cpu]'", needed=True)
    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return Check("engine", f"ONNX Runtime {onnxruntime.__version__} ({', '.join(providers)})")


def devices() -> list[Check]:
    """The processor, and an NVIDIA GPU where there is one."""
    from derain_ros.engine.onnxruntime import physical_cores

    lines = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    values = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    flags = set(values.get("flags", values.get("Features", "")).split())
    speeds = ", ".join(name for name in SPEEDS if name in flags) or "no known vector instructions"
    found = [
        Check(
            "processor",
            f"{values.get('model name', platform.machine())}, {len(physical_cores())} cores for this process, {speeds}",
        )
    ]
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            names = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
            found.append(Check("GPU", f"{'; '.join(names.splitlines())}; `derain engine selftest` tests it"))
        except (OSError, subprocess.SubprocessError) as error:
            found.append(Check("GPU", f"nvidia-smi fails: {error}"))
    return found


def shipped(directory: Path | None) -> Check:
    """The models: those the node loads are there, and each one is whole, and ran once."""
    from derain_ros import Config, Pipeline
    from derain_ros.engine import EngineError, load
    from derain_ros.engine.images import blank
    from derain_ros.manifest import Manifest, ManifestError

    remedy = "install the package again, or name a complete directory with --models"
    try:
        manifest = Manifest.load(directory)
        for model in manifest.models.values():
            manifest.verify(model)
    except ManifestError as error:
        return Check("models", str(error), remedy, needed=True)
    general = {model.channels for model in manifest.models.values() if model.task == "restore" and not model.serves}
    if lacks := [images for channels, images in ((1, "grey"), (3, "colour")) if channels not in general]:
        return Check("models", f"there is no restorer for {' and '.join(lacks)} images", remedy, needed=True)
    try:
        Pipeline(Config(), manifest).load()
        for model in manifest.models.values():
            load(model).run(**blank(model, (1, *(model.size or (model.stride, model.stride)))))
    except ManifestError as error:
        return Check("models", str(error), remedy, needed=True)
    except (EngineError, ModuleNotFoundError) as error:
        return Check(
            "models",
            f"verified, but they do not run: {error}",
            "fix the engine: see the line `engine` above",
            needed=True,
        )
    return Check("models", f"{', '.join(manifest.models)}: verified, each ran once")


def library(extra: str, name: str, use: str) -> Check:
    """A library that only some commands need."""
    try:
        return Check(extra, f"{name} {version(name)}")
    except PackageNotFoundError:
        return Check(extra, f"{name} is not installed; only {use} need it", f"pip install 'derain_ros[{extra}]'")


def faster() -> Check:
    """The engine that is often the faster one on processors of Intel and AMD."""
    try:
        return Check("OpenVINO", version("openvino"))
    except PackageNotFoundError:
        known = platform.machine() == "x86_64"
        return Check(
            "OpenVINO",
            "is not installed" + ("; it is often twice as fast on Intel and AMD" if known else ""),
            "pip install 'derain_ros[cpu]'" if known else "",
        )


def kept() -> Check:
    """Whether compiled engines can be kept: a file as large as such is written and removed."""
    from derain_ros.engine.cache import FOLDER_VARIABLE, entries, folder, trouble, write_whole

    trial = folder() / f"doctor-{os.getpid()}.part"
    if not write_whole(trial, bytes(ENGINE_BYTES)):
        return Check(
            "engine cache",
            trouble(),
            f"make {folder()} writable, free space there, or export {FOLDER_VARIABLE}=/a/folder",
        )
    trial.unlink()
    size = sum(entry.bytes for entry in entries())
    return Check("engine cache", f"{folder()}: {size / 1e6:.0f} MB")


def disk() -> Check:
    """Room for bags in the current directory."""
    free = shutil.disk_usage(".").free
    minutes = free // (60 * BAG_BYTES_A_SECOND)
    remedy = "free some space, or record in another folder" if minutes < 1 else ""
    return Check("disk", f"{free / 1e9:.1f} GB free here: {minutes} minutes of raw grey stereo at 20 Hz", remedy)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
