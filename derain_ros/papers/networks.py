"""The published networks and ours with random weights, run by every engine and by PyTorch as a CUDA graph."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from derain_ros.bench.speed import Contender, Progress
from derain_ros.engine import Engine, EngineError, Shape, Tell, load
from derain_ros.engine.agreement import pictures
from derain_ros.engine.images import check_images
from derain_ros.engine.machine import INSTALL
from derain_ros.manifest import Model
from derain_ros.nets.fast import Restoration
from derain_ros.nets.macs import macs
from derain_ros.papers.speed import CANDIDATES, TimedNetwork
from derain_ros.publish.export import export_onnx

PYTORCH = "pytorch-cuda"


class Graph(nn.Module):
    """A network as a robot runs it: (N, H, W, 3) uint8 to the restored image of that shape and a mask (N, H, W)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Restore; the mask is 255 where red is bright, as the published networks have no mask."""
        kind = next(self.net.parameters()).dtype
        out = self.net(image.permute(0, 3, 1, 2).to(kind) * (1 / 255))
        restored = out.restored if isinstance(out, Restoration) else out
        levels = (restored.clamp(0, 1) * 255 + 0.5).permute(0, 2, 3, 1)
        return levels.to(torch.uint8), (levels[..., 0] > 128).to(torch.uint8) * 255


class TorchCudaEngine:
    """A network in PyTorch on the first GPU in fp16, recorded as a CUDA graph; see `derain_ros.engine.Engine`.

    The reference for the other engines. Not yet run on a GPU.
    """

    name = PYTORCH
    precision = "fp16"
    streams = 1

    def __init__(self, net: nn.Module, model: Model) -> None:
        if not torch.cuda.is_available():
            raise EngineError(f"{PYTORCH}: PyTorch finds no GPU; install its build for CUDA, {INSTALL['tensorrt']}")
        self.model, self.device = model, torch.cuda.get_device_name(0)
        self._net = Graph(net).eval().cuda().half()
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graphs: dict[Shape, tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, Tensor]]] = {}

    @torch.inference_mode()
    def prepare(self, shape: Shape) -> None:
        """Record the graph for this shape, whose sides are multiples of the model's stride."""
        if shape in self._graphs:
            return
        image = torch.zeros((*shape, 3), dtype=torch.uint8, device="cuda")
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # warm-up: PyTorch's initial setup must not be recorded
                self._net(image)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._net(image)
        self._graphs[shape] = graph, image, outputs

    @torch.inference_mode()
    def run(self, **images: np.ndarray) -> dict[str, np.ndarray]:
        """See `derain_ros.engine.Engine.run`."""
        shape = check_images(self.model, images)
        self.prepare(shape)
        graph, place, outputs = self._graphs[shape]
        place.copy_(torch.from_numpy(images["image"]))
        graph.replay()
        restored, mask = (output.cpu().numpy() for output in outputs)
        return {"restored": restored, "mask": mask}


def contenders(
    engines: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    threads: int,
    tell: Tell,
    progress: Progress,
    candidates: Sequence[TimedNetwork] = CANDIDATES,
) -> list[Contender]:
    """Every network with every engine, exported for each (height, width) and batch size, padded to its stride."""
    found = []
    jobs = [(candidate, size, batch) for candidate in candidates for size in sizes for batch in batches]
    # Engines are loaded after this function returns, and read their files then.
    folder = tempfile.TemporaryDirectory(prefix="derain_networks")
    for done, (candidate, (height, width), batch) in enumerate(jobs):
        shape = (batch, *(-(-side // candidate.stride) * candidate.stride for side in (height, width)))
        torch.manual_seed(0)
        net = candidate.make().eval()
        file = Path(folder.name) / f"{done}.onnx"
        image = torch.zeros((*shape, 3), dtype=torch.uint8)
        export_onnx(Graph(net), {"image": image}, ["restored", "mask"], {}, file)
        model = Model(
            candidate.name, "restore", file, hashlib.sha256(file.read_bytes()).hexdigest(), 3, candidate.stride
        )
        gmac = macs(candidate.make().to("meta"), torch.empty(1, 3, *shape[1:], device="meta")) / 1e9
        for name in (*engines, PYTORCH):
            make: Callable[[], Engine] = partial(_load, name, net, model, threads, tell, folder)
            found.append(Contender(make, pictures(model, (batch, shape[1], shape[2])), gmac))
        progress(done + 1, len(jobs))
    return found


def _load(name: str, net: nn.Module, model: Model, threads: int, tell: Tell, folder: object) -> Engine:
    """Load a network; the reference to `folder`, which contains its file, keeps the folder alive."""
    if name == PYTORCH:
        return TorchCudaEngine(net, model)
    try:
        return load(model, name, threads, tell=tell)
    except EngineError as error:
        raise EngineError(f"{name}: {error}") from error
