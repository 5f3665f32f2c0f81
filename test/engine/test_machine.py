from __future__ import annotations

from pathlib import Path

from derain_ros.engine import ENGINES
from derain_ros.engine.machine import INSTALL, nvidia_gpus, processor, versions


def test_the_processor_and_gpus_are_read_where_the_system_tells(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: another\n")
    assert processor(info) == "Some CPU @ 3 GHz"
    assert processor(tmp_path / "none")
    for number, name in enumerate(("NVIDIA A", "NVIDIA B")):
        place = tmp_path / "gpus" / f"0000:0{number}:00.0"
        place.mkdir(parents=True)
        (place / "information").write_text(f"Model: \t\t {name}\nIRQ:   12\n")
    assert nvidia_gpus(tmp_path / "gpus") == ["NVIDIA A", "NVIDIA B"]
    assert nvidia_gpus(tmp_path / "none") == []


def test_versions_are_those_installed() -> None:
    import onnxruntime

    assert onnxruntime.__version__ in versions().values()
    assert set(INSTALL) == set(ENGINES) - {"auto"}
