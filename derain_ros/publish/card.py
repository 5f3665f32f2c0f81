"""The card of a restorer: its export writes what is known of it, in blocks that a later export replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml

from derain_ros.data.samples import CLEAN_FOLDERS, DataError
from derain_ros.data.splits import HELD_OUT_FRAMES
from derain_ros.nets.fast import STRIDE, FastRestorer
from derain_ros.nets.macs import macs, parameters
from derain_ros.nets.printed import PrintedRestorer
from derain_ros.train.checkpoint import read
from derain_ros.train.recipe import RestoreRecipe

SKELETON = """# {name}, {name}_int8

Returns {kind} image as if {nothing}, and says which pixels it made up.

{interface}

## Training

{training}

## Figures

On images never trained on. How they are made: `derain evaluate restoration {name} {name}_int8 --data DATA`.

{figures}

{figures_int8}

## Limits

- {hidden}
- Each frame is restored by itself: `derain evaluate sequence {name}{steadier}` says how much the result flickers.
- Clean frames do not come back bit for bit: the node sends only those through that the detector finds affected.
"""


SAID = {
    "drops": {
        "nothing": "nothing were on the lens",
        "hidden": "What a large drop hides cannot be seen: there the network paints a guess. Do not measure on pixels "
        "under the mask.",
        "steadier": " --temporal temporal",
    },
    "rain": {
        "nothing": "no rain fell before the camera",
        "hidden": "The real pairs are road scenes over which their authors laid streaks: there are no pairs of rain "
        "that fell. Drops on the lens are for other models.",
        "steadier": "",
    },
}
"""Texts for the card of a new model, for each of ANOMALIES."""
SOURCES = {
    "drops": "RobotCar(R) crops (Porav et al. 2019), without the frames "
    f"{', '.join(frame.rstrip('_') for frame in HELD_OUT_FRAMES)}, and photographs on which drops are drawn",
    "rain": "pairs of RoadScene-rain (of NiteDR), of whose runs of five neighbours each ninth is held out and another "
    "is for validation, and photographs on which rain is drawn, but for those held out",
}
"""Contents of DATA, for each of ANOMALIES."""


def write_card(path: Path, name: str, net: FastRestorer | PrintedRestorer, state: Mapping[str, Any]) -> None:
    """Write what a model is and how it was trained into the card at `path`.

    A card without blocks is written anew.
    """
    blocks = {"interface": interface(net), "training": training(state)}
    if not path.exists() or _marks("interface")[0] not in path.read_text(encoding="utf-8"):
        empty = {key: empty_block(key) for key in (*blocks, f"figures {name}", f"figures {name}_int8")}
        said = SAID[state["recipe"].get("anomaly", "drops")]
        text = SKELETON.format(
            **said,
            name=name,
            kind="a grey" if net.channels == 1 else "a colour",
            interface=empty["interface"],
            training=empty["training"],
            figures=empty[f"figures {name}"],
            figures_int8=empty[f"figures {name}_int8"],
        )
        path.write_text(text, encoding="utf-8")
    for key, text in blocks.items():
        write_block(path, key, text)


def write_block(path: Path, key: str, text: str) -> None:
    """Put `text` into the block `key` of the card at `path`, or at its end if it has no such block."""
    card = path.read_text(encoding="utf-8") if path.exists() else ""
    begin, end = _marks(key)
    if begin not in card:
        card += f"\n{begin}\n{end}\n"
    before, rest = card.split(begin, 1)
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def empty_block(key: str) -> str:
    """Return the empty block `key`, which `write_block` fills."""
    return "\n".join(_marks(key))


def interface(net: FastRestorer | PrintedRestorer) -> str:
    """Return the table of a network's input, output, size and structure."""
    with torch.device("meta"):
        scale = net.scale if isinstance(net, FastRestorer) else 1
        image = torch.empty(1, net.channels, *(-(-side // (scale * STRIDE)) * STRIDE for side in (540, 720)))
    cost = macs(_on_meta(net).eval(), image)
    if isinstance(net, FastRestorer):
        what = (
            "`derain_ros/nets/fast.py`: generator and enhancer with edges on the quarter grid, "
            f"{net.blocks} residual blocks of {net.width} filters at an eighth"
            + (f" and {net.deep} of {2 * net.width} at a sixteenth" if net.deep else "")
            + (f" of the image reduced by {net.scale}" if net.scale > 1 else "")
        )
    else:
        parts = "G" + "+E" * (net.enhancer is not None) + "+A" * net.generator.aggregation
        what = f"`derain_ros/nets/printed.py`: {parts} of paper 1, its normalisation folded into the convolutions"
    kind = "grey" if net.channels == 1 else "RGB"
    return f"""| | |
| --- | --- |
| input | `image` uint8 [N, H, W, {net.channels}], {kind}; height and width multiples of {STRIDE} |
| output | `restored` uint8 of the same form; `mask` uint8 [N, H, W], how probably a pixel was made up, in 255th |
| size | {parameters(net) / 1e6:.2f} M parameters; {cost / 1e9:.1f} GMAC an image of 720x540 |
| network | {what} |"""


def training(state: Mapping[str, Any]) -> str:
    """Return the phases of a training, from the first to that of the checkpoint `state`, and their data."""
    phases, lines = [state], []
    while phases[0]["recipe"].get("start_from"):
        origin = phases[0].get("origin")
        try:
            before = {"exported": origin} if origin else read(Path(phases[0]["recipe"]["start_from"]))
        except DataError:
            lines.append("The first phase begins with the weights of an earlier training that is not at hand.")
            break
        if "exported" in before:
            lines.append(
                f"The first phase begins with the weights of {before['exported']}, whose card tells what they "
                "had learnt from."
            )
            break
        phases.insert(0, before)
    defaults = {field.name: field.default for field in fields(RestoreRecipe)}
    for number, phase in enumerate(phases, 1):
        recipe = {key: value for key, value in phase["recipe"].items() if key != "start_from"}
        changed = _flow({key: value for key, value in recipe.items() if key in defaults and value != defaults[key]})
        gone = {key: value for key, value in recipe.items() if key not in defaults}
        start = "" if number == 1 else f", from the weights of phase {number - 1}"
        lines += [
            f"Phase {number}{start}, {phase['step']} steps, `derain train restore --data DATA --config` a file "
            "of what differs from the defaults:",
            "",
            *(f"    {line}" for line in changed.splitlines()),
            "",
        ]
        if gone:
            lines += [f"It was trained with an earlier version of that command, and there with {_flow(gone)}", ""]
    if state.get("data"):
        return "\n".join([*lines, f"DATA held {'; '.join(state['data'])}."])
    return "\n".join(
        [
            *lines,
            f"DATA holds {SOURCES[state['recipe'].get('anomaly', 'drops')]}: "
            f"{', '.join(CLEAN_FOLDERS)}. Most owners allow research use only; no image is part of the "
            "model's files.",
        ]
    )


def _flow(values: Mapping[str, Any]) -> str:
    values = {key: _without_folders(value) for key, value in values.items()}
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=True, width=110).strip()


def _on_meta(net: FastRestorer | PrintedRestorer) -> FastRestorer | PrintedRestorer:
    """Return the network without its weights: only shapes are needed."""
    with torch.device("meta"):
        if isinstance(net, FastRestorer):
            return FastRestorer(net.channels, net.width, net.blocks, deep=net.deep)
        return PrintedRestorer(net.channels, net.enhancer is not None, net.generator.aggregation)


def _without_folders(value: Any) -> Any:
    """Return a value with paths cut to their last two parts, and tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [_without_folders(part) for part in value]
    return "/".join(Path(value).parts[-2:]) if isinstance(value, str) and "/" in value else value


def _marks(key: str) -> tuple[str, str]:
    return f"<!-- {key}: written by derain -->", f"<!-- end of {key} -->"
