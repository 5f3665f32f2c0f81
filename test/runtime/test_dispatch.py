from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from derain_ros.engine import EngineError
from derain_ros.manifest import Model
from derain_ros.runtime import dispatch as dispatch_module
from derain_ros.runtime.dispatch import Dispatch
from derain_ros.runtime.input.encoding import FrameError
from derain_ros.runtime.stages.restore import Batch

PAIR: Batch = (2, 540, 720, 1)


class FakeEngine:
    name, device, streams = "fake", "nowhere", 1

    def __init__(self, model: Model) -> None:
        self.model = model


class FakePreparation:
    """A restorer that is ready when the test says so."""

    def __init__(self, models: tuple[Model, ...], shape: Batch) -> None:
        self.models, self.shape = models, shape
        self.engine: Any = None
        self.ready = self.failed = False
        self.state = "loading"
        self.retired: list[Exception] = []

    def finish(self) -> None:
        self.engine, self.ready, self.state = FakeEngine(self.models[-1]), True, "ready"

    def fail(self) -> None:
        self.failed, self.state = True, "failed: no memory"

    def wait(self, seconds: float | None) -> bool:
        self.finish()
        return True

    def retire(self, error: Exception) -> None:
        self.retired.append(error)


class Bench:
    """A dispatch of restorers of 100 MB each, and what it loads."""

    def __init__(self, tmp_path: Path, memory_mb: float, monkeypatch: pytest.MonkeyPatch,
                 *models: dict[str, Any]) -> None:
        self.loads: list[FakePreparation] = []
        file = tmp_path / "model.onnx"
        file.write_bytes(b"0" * (100_000_000 // dispatch_module.MEMORY_PER_BYTE))
        self.resident = 0.0
        monkeypatch.setattr(dispatch_module, "resident_mb", lambda: self.resident)
        plain = {"task": "restore", "file": file, "sha256": "", "channels": 1, "stride": 8}
        self.dispatch = Dispatch([Model(**(plain | model)) for model in models], self.prepare, memory_mb)

    def prepare(self, models: tuple[Model, ...], shape: Batch) -> Any:
        assert all(load.ready or load.failed for load in self.loads), "one after another"
        self.loads.append(FakePreparation(models, shape))
        return self.loads[-1]

    def choices(self, kind: str, shapes: tuple[Batch, ...] = (PAIR,)) -> list[tuple[str, str]]:
        return [(choice.plan, choice.models) for choice in self.dispatch.choices(shapes, kind)]

    def finish(self, kind: str = "raindrop", shapes: tuple[Batch, ...] = (PAIR,), mb: float = 100.0) -> list[str]:
        """Let everything load that will; the names in order."""
        begun = len(self.loads)
        for _ in range(20):
            self.choices(kind, shapes)
            for load in self.loads:
                if not load.ready and not load.failed:
                    self.resident += mb
                    load.finish()
        return [load.models[0].name for load in self.loads[begun:]]

    @property
    def loaded(self) -> set[str]:
        return {engine.model.name for engine in self.dispatch.engines}


ALL = ({"name": "general"}, {"name": "fast", "plan": "fast"}, {"name": "dirt", "serves": ("dirt",)},
       {"name": "night", "serves": ("night_rain", "streak")}, {"name": "rgb", "channels": 3})


def test_the_one_that_serves_the_anomaly_is_taken_once_it_is_there(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL)
    assert bench.choices("dirt") == [] and bench.dispatch.began and "general: loading" in bench.dispatch.state
    assert bench.choices("dirt") == [] and not bench.dispatch.began
    bench.loads[0].finish()
    # From one frame to the next, and no frame without a restorer.
    assert bench.choices("dirt") == [("balanced", "general")]
    assert bench.loads[1].models[0].name == "dirt"
    assert bench.choices("dirt") == [("balanced", "general")]
    bench.loads[1].finish()
    assert bench.choices("dirt") == [("balanced", "dirt")]
    assert bench.finish("dirt") == ["fast"] or bench.loaded == {"general", "fast", "dirt", "night"}
    assert bench.choices("dirt") == [("balanced", "dirt"), ("fast", "fast")]
    assert bench.choices("raindrop") == [("balanced", "general"), ("fast", "fast")]
    assert bench.choices("streak") == bench.choices("night_rain") == [("balanced", "night"), ("fast", "fast")]
    assert bench.dispatch.state == "" and "rgb" not in bench.loaded


def test_a_fast_one_that_serves_the_anomaly_is_taken_before_better_general_ones(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rain = {"name": "rain", "plan": "fast", "serves": ("streak", "night_rain")}
    bench = Bench(tmp_path, 1000, monkeypatch, {"name": "best", "plan": "quality"}, *ALL[:3], rain)
    bench.dispatch.time_for_quality = True
    bench.choices("streak")
    bench.loads[0].finish()
    assert bench.choices("streak") == [("balanced", "general")], "until it is loaded"
    bench.finish("streak")
    assert bench.choices("streak") == bench.choices("night_rain") == [("fast", "rain")]
    assert bench.choices("dirt") == [("balanced", "dirt"), ("fast", "fast")]
    assert bench.choices("raindrop") == [("quality", "best"), ("balanced", "general"), ("fast", "fast")]


def test_what_is_needed_first_is_loaded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = {"name": "best", "plan": "quality"}
    bench = Bench(tmp_path, 1000, monkeypatch, quality, *ALL)
    bench.dispatch.time_for_quality = True
    assert bench.finish("streak") == ["general", "night", "fast", "best", "dirt"]
    assert bench.choices("clean") == [("quality", "best"), ("balanced", "general"), ("fast", "fast")]


def test_quality_is_loaded_only_where_there_is_time_for_it_or_nothing_else(tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    quality = {"name": "best", "plan": "quality"}
    bench = Bench(tmp_path, 1000, monkeypatch, quality, *ALL)
    bench.finish("raindrop")
    assert "best" not in bench.loaded and bench.choices("raindrop")[0] == ("balanced", "general")
    bench.dispatch.time_for_quality = True
    assert bench.finish("raindrop") == ["best"] and bench.choices("raindrop")[0] == ("quality", "best")
    alone = Bench(tmp_path, 1000, monkeypatch, quality)
    assert alone.finish("raindrop") == ["best"]


def test_within_the_memory_the_special_ones_are_loaded_when_they_are_asked_for(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, 350, monkeypatch, *ALL)
    assert bench.finish("raindrop") == ["general", "fast", "dirt"] and bench.loaded == {"general", "fast", "dirt"}
    assert bench.finish("streak") == ["night"] and bench.loaded == {"general", "fast", "night"}
    assert bench.choices("dirt")[0] == ("balanced", "general")
    bench.finish("dirt")
    assert bench.loaded == {"general", "fast", "dirt"}
    assert [r.levelno for r in caplog.records if "night is not loaded: it takes 100 MB" in r.message] \
        == [logging.WARNING]


def test_one_that_is_loaded_into_the_memory_of_another_takes_memory_too(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 350, monkeypatch, *ALL)
    bench.finish("raindrop")
    # The process does not grow: it still has the memory of the one that was given up.
    assert bench.finish("streak", mb=0.0) == ["night"] and bench.loaded == {"general", "fast", "night"}
    assert bench.finish("dirt", mb=0.0) == ["dirt"] and bench.loaded == {"general", "fast", "dirt"}


def test_a_special_one_that_is_too_large_is_not_loaded_again_and_again(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 250, monkeypatch, *ALL)
    assert bench.finish("dirt") == ["general", "dirt"]
    assert bench.finish("dirt") == [] and bench.choices("dirt") == [("balanced", "dirt")]
    # It turns out to take more than was thought: another kind must do without.
    assert bench.finish("streak", mb=400) == ["night"]
    assert bench.finish("streak") == []


def test_the_general_one_is_loaded_whatever_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 64, monkeypatch, *ALL)
    assert bench.finish("dirt") == ["general"] and bench.choices("dirt") == [("balanced", "general")]


def test_another_size_is_loaded_and_the_old_one_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 250, monkeypatch, *ALL[:2])
    bench.finish()
    other: Batch = (2, 270, 360, 1)
    assert bench.choices("raindrop", (other,)) == [] and bench.dispatch.began
    assert bench.finish("raindrop", (other,)) == ["fast"]
    assert bench.choices("raindrop", (other,)) == [("balanced", "general"), ("fast", "fast")]
    assert len(bench.dispatch.engines) == 2


def test_sizes_that_change_all_the_time_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 350, monkeypatch, *ALL[:1])
    for height in range(100, 110):
        shape: Batch = (2, height, 360, 1)
        assert bench.choices("raindrop", (shape,)) == [] and bench.dispatch.began
        bench.resident += 100.0
        bench.loads[-1].finish()
        assert bench.choices("raindrop", (shape,)) == [("balanced", "general")]
    assert len(bench.dispatch.engines) == 3


def test_eyes_that_differ_need_both_their_restorers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL)
    shapes: tuple[Batch, ...] = ((1, 540, 720, 1), (1, 540, 720, 3))
    assert bench.choices("raindrop", shapes) == []
    bench.loads[0].finish()
    assert bench.choices("raindrop", shapes) == []
    bench.loads[1].finish()
    assert bench.choices("raindrop", shapes) == [("balanced", "general, rgb")]
    [choice] = bench.dispatch.choices(shapes, "raindrop")
    assert {shape: engine.model.name for shape, engine in choice.engines.items()} \
        == {shapes[0]: "general", shapes[1]: "rgb"}


def test_one_that_fails_to_load_is_told_once_and_another_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL)
    bench.choices("dirt")
    bench.loads[0].finish()
    bench.choices("dirt")
    bench.loads[1].fail()
    assert bench.finish("dirt") == ["fast", "night"]
    assert bench.choices("dirt") == [("balanced", "general"), ("fast", "fast")]
    assert bench.dispatch.state == "dirt: failed: no memory"
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == ["dirt: failed: no memory"]


def test_precisions_of_one_restorer_are_chosen_among_by_the_engine(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, {"name": "int8", "precision": "int8"}, {"name": "float"})
    assert bench.finish() == ["float"]
    assert [model.name for model in bench.loads[0].models] == ["float", "int8"]


def test_a_slower_engine_has_times_of_its_own_while_another_is_built(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, ALL[0])
    bench.choices("dirt")
    bench.loads[0].engine = FakeEngine(bench.loads[0].models[0])
    [slower] = bench.dispatch.choices([PAIR], "dirt")
    bench.loads[0].finish()
    bench.loads[0].engine.device = "somewhere"
    [faster] = bench.dispatch.choices([PAIR], "dirt")
    assert slower.key != faster.key


def test_engines_that_fail_are_retired_and_those_that_hang_are_loaded_anew(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL[:2])
    bench.finish()
    balanced, _ = bench.dispatch.choices([PAIR], "raindrop")
    error = EngineError("lost")
    bench.dispatch.retire(balanced, error)
    assert [load.retired for load in bench.loads] == [[error], []]
    bench.dispatch.forget(balanced)
    assert bench.choices("raindrop") == [("fast", "fast")] and bench.finish() == []
    assert bench.choices("raindrop") == [("balanced", "general"), ("fast", "fast")]


def test_waiting_is_for_all_of_use_now_or_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL)
    bench.dispatch.wait([PAIR], "dirt", 1000.0)
    assert bench.loaded == {"general"}
    bench.dispatch.wait([PAIR], "dirt")
    assert bench.loaded == {"general", "fast", "dirt"}
    assert bench.loads[-1].models[0].name == "night" and not bench.loads[-1].ready


def test_images_that_nothing_takes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, *ALL[:3])
    with pytest.raises(FrameError, match="no restorer for colour images"):
        bench.choices("dirt", ((2, 8, 8, 3),))


def test_memory_is_told_by_the_system_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("500 300 20 1 0 90 0\n")
    assert dispatch_module.resident_mb(tmp_path / "statm") == 300 * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert dispatch_module.resident_mb(tmp_path / "nothing") == 0.0


def test_keys_say_all_that_times_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 1000, monkeypatch, ALL[0])
    bench.finish()
    [choice] = bench.dispatch.choices([PAIR], "dirt")
    for change in ({"streams": 2}, {"name": "other"}, {"model": dataclasses.replace(bench.loads[0].models[0],
                                                                                  name="x")}):
        engine = FakeEngine(bench.loads[0].models[0])
        vars(engine).update(change)
        bench.loads[0].engine = engine
        [changed] = bench.dispatch.choices([PAIR], "dirt")
        assert changed.key != choice.key
