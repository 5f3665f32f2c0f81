"""The speed of restorers: parameters, operations and milliseconds of several networks, measured in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from derain_ros.nets.fast import STRIDE, FastRestorer, Restoration
from derain_ros.nets.macs import macs, parameters
from derain_ros.nets.peers import DeRaindrop, NAFNet, Porav, PReNet
from derain_ros.nets.printed import PrintedRestorer
from derain_ros.publish.export import export_onnx

HEIGHT, WIDTH = 360, 540
"""Size of the frames that the paper times, in pixels."""


@dataclass(frozen=True)
class TimedNetwork:
    """A network with three channels to be timed; frames are padded to multiples of `stride`."""

    name: str
    make: Callable[[], nn.Module]
    """Makes the network with random weights: the run time does not depend on them."""
    stride: int = 1


CANDIDATES = (
    TimedNetwork("paper 1, G+E+A", lambda: PrintedRestorer().folded(), 4),
    TimedNetwork("fast family, 64 wide, 9 blocks", lambda: FastRestorer(3, 64, 9), STRIDE),
    TimedNetwork("fast family, 32 wide, 6 blocks", lambda: FastRestorer(3, 32, 6), STRIDE),
    TimedNetwork("DeRaindrop", DeRaindrop, 4),
    TimedNetwork("Porav et al.", Porav, 4),
    TimedNetwork("PReNet, 6 rounds", PReNet),
    TimedNetwork("NAFNet, 16 wide", NAFNet, 16),
)


@dataclass(frozen=True)
class Speed:
    """The measurements of one network."""

    name: str
    height: int
    width: int
    """Size of the padded frame, in pixels."""
    parameters: int
    macs: int
    """Multiply-accumulates of its convolutions for one frame."""
    milliseconds: tuple[float, ...]
    """Run time of each timed frame."""

    def quantile(self, share: float) -> float:
        """The `share` quantile of the run times, in milliseconds; `share` in [0, 1]."""
        return float(np.quantile(self.milliseconds, share))


class _Graph(nn.Module):
    """A network as a robot runs it: `image` (1, H, W, 3) uint8 to the restored image of that shape."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor]:
        out = self.net(image.permute(0, 3, 1, 2).float() * (1 / 255))
        restored = out.restored if isinstance(out, Restoration) else out
        return ((restored.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1),)


def measure(
    candidates: Sequence[TimedNetwork] = CANDIDATES,
    repeats: int = 15,
    warm_up: int = 2,
    threads: int = 0,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> list[Speed]:
    """Time `candidates` on one frame with ONNX Runtime on the CPU; `threads` 0 is one thread per core.

    Each network is exported at its fixed size. The networks take turns, so that other load on the machine affects all
    equally. The first `warm_up` turns are not timed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns) as progress:
        exporting = progress.add_task("exporting", total=len(candidates))
        prepared = []
        for number, candidate in enumerate(candidates):
            prepared.append(_prepare(candidate, Path(folder) / f"{number}.onnx", threads, height, width))
            progress.advance(exporting)
        times: list[list[float]] = [[] for _ in candidates]
        timing = progress.add_task("timing", total=warm_up + repeats)
        for turn in range(warm_up + repeats):
            for (session, image, _), taken in zip(prepared, times, strict=True):
                start = time.perf_counter()
                session.run(None, {"image": image})
                if turn >= warm_up:
                    taken.append((time.perf_counter() - start) * 1e3)
            progress.advance(timing)
    return [
        Speed(candidate.name, image.shape[1], image.shape[2], *counts, tuple(taken))
        for candidate, (_, image, counts), taken in zip(candidates, prepared, times, strict=True)
    ]


def _prepare(
    candidate: TimedNetwork, path: Path, threads: int, height: int, width: int
) -> tuple[onnxruntime.InferenceSession, np.ndarray, tuple[int, int]]:
    """A session that runs the candidate, its input frame, and its numbers of parameters and multiply-accumulates."""
    height, width = (-(-side // candidate.stride) * candidate.stride for side in (height, width))
    torch.manual_seed(0)
    net = candidate.make().eval()
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    export_onnx(_Graph(net), {"image": torch.from_numpy(image)}, ["restored"], {}, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # On the device "meta" only shapes are computed.
    counts = parameters(net), macs(net.to("meta"), torch.empty(1, 3, height, width, device="meta"))
    return session, image, counts
