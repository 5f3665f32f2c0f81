"""What colcon and pip make of the tree."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from catkin_pkg.package import Package, parse_package

import derain_ros
from derain_ros.cli.main import EXTRA_OF_MODULE

ROOT = Path(__file__).parents[1]
SHIPPED = (
    "CHANGELOG.rst",
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "config",
    "constraints.txt",
    "derain_ros",
    "docs",
    "examples",
    "launch",
    "models",
    "package.xml",
    "pyproject.toml",
    "resource",
    "setup.cfg",
    "setup.py",
)
OPTIONAL = {"cuda", "distributed", "onnx", "openvino", "pynvml", "tensorrt"}
"""What engines and fleets are tried with where it is installed; rosdep has keys for none of it."""
WORKSHOP = {"data", "evaluate", "nets", "papers", "publish", "train"}
"""Packages that a robot never imports; what they need is not in package.xml."""

ROSDEP_KEYS = {
    "numpy": "python3-numpy",
    "cv2": "python3-opencv",
    "yaml": "python3-yaml",
    "typer": "python3-typer",
    "rich": "python3-rich",
    "onnxruntime": "python3-onnxruntime-pip",
    "rosbags": "python3-rosbags-pip",
    "matplotlib": "python3-matplotlib",
    # Of mcap itself rosdep has no key; it comes with this one, and brings the compressions.
    "mcap": "mcap-ros2-support",
    "lz4": "mcap-ros2-support",
    "zstandard": "mcap-ros2-support",
}


@pytest.fixture(scope="module")
def package() -> Package:
    """package.xml as colcon reads it; what it does not accept, colcon takes for no ROS package, silently."""
    return parse_package(str(ROOT / "package.xml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel does, built from the source distribution of a copy of the tree."""
    pytest.importorskip("setuptools", minversion="70.1")
    place = tmp_path_factory.mktemp("wheel")
    source = place / "a copy"
    source.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    run_python("from setuptools import build_meta; build_meta.build_sdist('dist')", source)
    (archive,) = (source / "dist").glob("*.tar.gz")
    shutil.unpack_archive(archive, place, filter="data")
    unpacked = place / archive.name.removesuffix(".tar.gz")
    run_python("from setuptools import build_meta; build_meta.build_wheel('dist')", unpacked)
    (built,) = (unpacked / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as file:
        file.extractall(place / "wheel")
    return place / "wheel"


def run_python(code: str, directory: Path, **environment: str) -> str:
    """What `code` prints when a fresh Python runs it in `directory`."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=os.environ | environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_under(directory: Path) -> set[str]:
    """The names of all files below `directory`."""
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_package_xml_is_a_python_package_of_the_same_version(package: Package) -> None:
    assert package.package_format == 3
    assert package.get_build_type() == "ament_python"
    assert package.version == derain_ros.__version__
    assert package.licenses == ["Apache-2.0"]


def test_package_xml_names_what_the_robot_imports(package: Package) -> None:
    depends = {depend.name for depend in package.exec_depends}
    imported = set()
    for path in (ROOT / "derain_ros").rglob("*.py"):
        if path.relative_to(ROOT / "derain_ros").parts[0] in WORKSHOP:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            imported |= {name.split(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"derain_ros"} - OPTIONAL
    assert {"rclpy", "numpy", "onnxruntime"} <= foreign
    assert {ROSDEP_KEYS.get(name, name) for name in foreign} - depends == set()


def test_setup_cfg_puts_programs_where_ros2_run_looks() -> None:
    from configparser import ConfigParser

    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    assert settings["install"]["install_scripts"] == "$base/lib/derain_ros"
    assert settings["develop"]["script_dir"] == "$base/lib/derain_ros"


def test_setup_runs_from_links_as_colcon_makes_them(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    # What `colcon build --symlink-install` links: setup.py and setup.cfg, the packages, the data files.
    for name in ("setup.py", "setup.cfg", "package.xml", "resource", "config", "launch", "derain_ros"):
        (tmp_path / name).symlink_to(ROOT / name)
    run_python(
        f"import runpy, sys; sys.argv = ['setup.py', '-q', 'egg_info', '--egg-base', {str(tmp_path)!r}]; "
        "runpy.run_path('setup.py', run_name='__main__')",
        tmp_path,
    )
    programs = (tmp_path / "derain_ros.egg-info" / "entry_points.txt").read_text()
    assert "derain_node = derain_ros.ros.node:main" in programs


def test_wheel_has_the_modules_and_the_models_and_defaults_beside_them(wheel: Path) -> None:
    assert files_under(wheel / "derain_ros" / "models") == files_under(ROOT / "models")
    assert files_under(wheel / "derain_ros" / "defaults") == files_under(ROOT / "config")
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "derain_ros").rglob("*.py")}
    assert modules <= files_under(wheel)
    assert not (wheel / "test").exists()


def test_wheel_has_the_share_files_that_ros2_launch_reads(wheel: Path) -> None:
    share = next(wheel.glob("*.data")) / "data" / "share"
    expected = {
        "ament_index/resource_index/packages/derain_ros",
        "derain_ros/package.xml",
        "derain_ros/launch/derain.launch.py",
        "derain_ros/config/derain.yaml",
        "derain_ros/config/alphasense.yaml",
        "derain_ros/config/fastdds.xml",
    }
    assert expected <= files_under(share)
    assert files_under(share / "derain_ros" / "config") == files_under(ROOT / "config")


def test_wheel_names_its_programs_and_they_can_be_loaded(wheel: Path) -> None:
    pytest.importorskip("rclpy")
    code = (
        "from importlib.metadata import distribution\n"
        "for e in distribution('derain_ros').entry_points: print(e.group, e.name, callable(e.load()))"
    )
    assert run_python(code, wheel, PYTHONPATH=str(wheel)).splitlines() == [
        "console_scripts derain True",
        "console_scripts derain_node True",
    ]


def test_wheel_metadata_has_every_extra_that_messages_name(wheel: Path) -> None:
    metadata = message_from_string(next(wheel.glob("*.dist-info/METADATA")).read_text(encoding="utf-8"))
    assert set(EXTRA_OF_MODULE.values()) <= set(metadata.get_all("Provides-Extra", []))
    assert metadata["Version"] == derain_ros.__version__
    assert next(wheel.glob("*.dist-info/licenses/LICENSE")).stat().st_size > 10000


def test_installed_package_finds_its_models_whole(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import derain_ros\n"
        "from derain_ros.manifest import Manifest\n"
        "manifest = Manifest.load()\n"
        "for model in manifest.models.values(): manifest.verify(model)\n"
        "print(derain_ros.__file__); print(manifest.directory); print(*sorted(manifest.models))"
    )
    where, directory, names = run_python(code, tmp_path, PYTHONPATH=str(wheel)).splitlines()
    assert Path(where).is_relative_to(wheel)
    assert Path(directory) == wheel / "derain_ros" / "models"
    assert {"detect", "restore_mono", "restore_rgb"} <= set(names.split())
