"""Exported models as teachers or to start from: their files hold the weights by the names of training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from derain_ros.data.samples import DataError
from derain_ros.manifest import Manifest, ManifestError
from derain_ros.nets.segmentation import Segmenter, fold

SCALE = "scale"
"""Metadata key of an exported restorer: by how much its images are reduced."""
BACKBONE, CLASSES = "backbone", "classes"
"""Metadata keys of an exported segmenter: its backbone and its classes."""
PREFIX = "net."
"""Prefix of the names of weights in an exported graph."""


def shipped(name: str, task: str = "restore") -> Path | None:
    """Return the file of the shipped model of this name and task, or None if there is none.

    DataError if it is damaged, or serves only some kinds of anomaly.
    """
    manifest = Manifest.load()
    model = manifest.models.get(name)
    if model is None or model.task != task:
        return None
    if model.serves:
        raise DataError(
            f"{name}: serves {', '.join(model.serves)} alone; train such a one from the beginning by "
            "`--config rain`, or name its file and a recipe with `anomaly: rain`"
        )
    try:
        manifest.verify(model)
    except ManifestError as error:
        raise DataError(str(error)) from error
    return model.file


def read_exported(path: Path) -> dict[str, Any]:
    """Return an exported restorer as a checkpoint: its weights, `net`, and the network's part of its `recipe`.

    `exported` has its name and digest. DataError unless it is a restorer for colour in floating point.
    """
    graph = _model(path)
    weights = _weights(graph, path)
    recipe = _network(weights)
    if recipe is not None and recipe["network"] == "fast":
        recipe["scale"] = int({prop.key: prop.value for prop in graph.metadata_props}.get(SCALE, "1"))
    if recipe is None:
        raise DataError(f"{path}: not a restorer that `derain export` has written")
    if recipe.pop("channels") != 3:
        raise DataError(
            f"{path}: is for grey images; take the one for colour that it was made of, such as "
            "restore_rgb: `derain export --grey` makes it grey again"
        )
    return {"net": weights, "recipe": recipe, "exported": name_of(path)}


def name_of(path: Path) -> str:
    """Return an exported model's name with the first digits of its sha256, which tell models of one name apart."""
    return f"{path.stem} (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]})"


def load_detector(net: nn.Module, path: Path) -> None:
    """Give a detector the weights of an exported one; DataError unless it is a detector in floating point.

    Export has folded each normalisation into the convolution before it: those of `net` then only add the bias.
    """
    weights = _weights(_model(path), path)
    state: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            bias = weights.pop(f"{name[:-1]}0.bias", torch.empty(0))
            one = torch.ones_like(bias)
            state |= {
                f"{name}.weight": one,
                f"{name}.bias": bias,
                f"{name}.running_mean": 0 * one,
                f"{name}.running_var": one - module.eps,
                f"{name}.num_batches_tracked": torch.tensor(0),
            }
    try:
        net.load_state_dict(weights | state)
    except RuntimeError as error:
        raise DataError(f"{path}: not a detector that `derain export` has written") from error


def load_temporal(net: nn.Module, path: Path) -> None:
    """Give a temporal filter the weights of an exported one; DataError unless it is one in floating point."""
    try:
        net.load_state_dict(_weights(_model(path), path))
    except RuntimeError as error:
        raise DataError(f"{path}: not a temporal filter of these sizes that `derain export` has written") from error


def read_segmenter(path: Path) -> tuple[Segmenter, list[str]]:
    """Return an exported segmenter for evaluation and the names of its classes.

    DataError unless it is a segmenter in floating point. Its normalisations are folded: training cannot start from it.
    """
    model = _model(path)
    weights, said = _weights(model, path), {prop.key: prop.value for prop in model.metadata_props}
    try:
        names = said[CLASSES].split(",")
        net = Segmenter(len(names), said[BACKBONE], weights["classify.weight"].shape[1])
        fold(net).load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise DataError(f"{path}: not a segmenter that `derain export` has written") from error
    return net, names


def begin_detector(net: nn.Module, path: Path, images: Tensor) -> None:
    """Give a detector the weights of an exported one, see `load_detector`, to train it further.

    `images` (N, 1, h, w) float are typical of training. On them the mean and variance before each normalisation are
    measured, and unfolded from the convolution. The output of `net` stays that of the exported network, and training
    normalises batches by the statistics that it was trained on.
    """
    load_detector(net, path)

    def measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.bias.add_(mean)
        norm.weight.copy_((variance + norm.eps).sqrt())

    hooks = [
        module.register_forward_pre_hook(measure) for module in net.modules() if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        net.eval()(images)
    for hook in hooks:
        hook.remove()
    net.train()


def _model(path: Path) -> Any:
    """Return the ONNX model in a file; DataError if it is none."""
    import onnx

    try:
        return onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # an invalid file may raise any exception
        what = str(error).split("\n", 1)[0]
        raise DataError(f"{path}: not an ONNX model: {what}") from error


def _weights(model: Any, path: Path) -> dict[str, Tensor]:
    """Return the weights and biases of an exported model's layers by the names of training; DataError for int8."""
    import onnx

    graph = model.graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise DataError(f"{path}: its weights have eight bits; take the model in floating point that it was made of")
    tensors = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    weights: dict[str, Tensor] = {}
    for node in graph.node:
        if (
            node.op_type in ("Conv", "ConvTranspose", "Gemm")
            and node.input[1].startswith(PREFIX)
            and node.input[1] in tensors
        ):
            weight = tensors[node.input[1]]
            # Zero biases are left out; equal biases of several layers share a name.
            bias = tensors.get(node.input[2]) if len(node.input) > 2 else None
            layer = node.input[1].removeprefix(PREFIX).removesuffix(".weight")
            weights[f"{layer}.weight"] = weight
            weights[f"{layer}.bias"] = (
                weight.new_zeros(weight.shape[node.op_type == "ConvTranspose"]) if bias is None else bias
            )
    return weights


def _network(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return the network with these weights as settings of a recipe, and its `channels`; None if it is unknown."""
    if "stem.weight" in weights:
        edge, pixels = weights["stem.weight"].shape[:2]
        blocks = {name.split(".")[1] for name in weights if name.startswith("trunk.")}
        deep = {name.split(".")[1] for name in weights if name.startswith("sixteenth.") and ".first." in name}
        return {
            "network": "fast",
            "width": 2 * edge,
            "blocks": len(blocks),
            "deep": len(deep),
            "channels": pixels // 16,
        }
    first = weights.get("generator.down_half.conv.weight")
    if first is None:
        return None
    return {
        "network": "printed",
        "enhancer": "enhancer.first.weight" in weights,
        "aggregation": "generator.join_half.conv.weight" in weights,
        "channels": first.shape[1],
    }
