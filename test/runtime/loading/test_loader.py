from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_networks import BALANCED, LIGHT, QUALITY, FakeEngine, World, model
from waiting import PATIENCE_S, wait_for

from derain_ros.config import Config
from derain_ros.engine import EngineError
from derain_ros.engine.auto import Choice, label
from derain_ros.manifest import ManifestError, Model
from derain_ros.runtime.loading import loader as loader_module
from derain_ros.runtime.loading.failures import AGAIN_NS, Hang
from derain_ros.runtime.loading.loader import Loader, Wanted
from derain_ros.runtime.loading.models import Network

SHAPE = (2, 54, 72)
Load = Callable[..., FakeEngine]


class Bench:
    """What a loader asks for, in order, and what it gets: `broken` are (model, engine) that fail, with what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.world.ms = dict.fromkeys(("quality", "balanced", "light"), 0.0)
        self.asked: list[str] = []
        self.at_once = 0
        self.damaged: set[str] = set()
        self.broken: dict[tuple[str, str], Exception] = {}
        self.forgotten: list[tuple[Any, ...]] = []
        self.rests: set[bool] = set()
        self.now_ns = 0
        self._at_work = threading.Lock()
        monkeypatch.setattr(loader_module, "load", self.load)
        monkeypatch.setattr(loader_module, "choose", self.choose)
        monkeypatch.setattr(loader_module, "forget", lambda *what: self.forgotten.append(what))

    def verify(self, model: Model) -> None:
        if model.name in self.damaged:
            raise ManifestError(f"{model.name}.onnx: sha256 is wrong")

    def load(self, model: Model, engine: str, threads: int, streams: int) -> FakeEngine:
        assert self._at_work.acquire(blocking=False), "one at a time"
        self.asked.append(f"load {model.name} by {engine}")
        self._at_work.release()
        self._fail(model, engine)
        return self.engine(model, engine)

    def choose(
        self,
        models: Sequence[Model],
        shape: tuple[int, int, int],
        engine: str,
        threads: int,
        tell: Callable[[str], None],
        rests: bool,
    ) -> Choice:
        assert self._at_work.acquire(blocking=False), "one at a time"
        self.asked.append(f"choose {' '.join(each.name for each in models)} for {shape} by {engine}")
        self.rests.add(rests)
        self._at_work.release()
        tell(f"preparing {models[-1].name}")
        for each in models:
            self._fail(each, "chosen")
        return self.choice(models[-1], "tensorrt" if engine == "auto" else engine)

    def engine(self, model: Model, engine: str) -> FakeEngine:
        return FakeEngine(self.world, model, engine)

    def choice(self, model: Model, engine: str) -> Choice:
        chosen = self.engine(model, engine)
        return Choice(chosen, "the fastest", (), (("another", 4.0), (label(chosen), 7.0)))

    def _fail(self, model: Model, engine: str) -> None:
        if (model.name, engine) in self.broken:
            raise self.broken[model.name, engine]

    def loader(self, background: bool = True, **settings: Any) -> Loader:
        return Loader(self.verify, Config(**settings), background, lambda: self.now_ns)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def wanted(*models: Model, shape: tuple[int, int, int] = SHAPE) -> Wanted:
    return Wanted(Network(models[0].network, models), shape)


def int8(of: Model) -> Model:
    return model(f"{of.name}_int8", network=of.network, plan=of.plan, precision="int8")


def name(loader: Loader, of: Wanted) -> str | None:
    """What runs just now, in words."""
    engine = loader.engine(of)
    return f"{engine.model.name} by {engine.name}" if engine is not None else None


def test_all_are_loaded_in_the_quick_way_first_and_then_in_the_best(bench: Bench) -> None:
    loader, light, balanced = bench.loader(), wanted(LIGHT, int8(LIGHT)), wanted(BALANCED, int8(BALANCED))
    loader.wait([light, balanced])
    assert bench.asked == [
        "load light_int8 by onnxruntime",
        "load balanced_int8 by onnxruntime",
        f"choose light light_int8 for {SHAPE} by auto",
        f"choose balanced balanced_int8 for {SHAPE} by auto",
    ]
    assert name(loader, light) == "light_int8 by tensorrt" and loader.measured_ms(light) == 7.0
    assert {engine.model.name for engine in loader.engines} == {"light_int8", "balanced_int8"}
    assert (loader.state, loader.busy) == ("", False)
    bench.asked.clear()
    loader.wait([balanced, light])
    loader.wait([light])
    assert bench.asked == [] and name(loader, balanced) == "balanced_int8 by tensorrt", "what is loaded stays"


@pytest.mark.parametrize(
    ("background", "engine", "runs"),
    [
        (True, "auto", "tensorrt"),
        (True, "openvino", "openvino"),
        (True, "onnxruntime", "onnxruntime"),
        (False, "auto", "onnxruntime"),
        (False, "openvino", "openvino"),
        (False, "onnxruntime", "onnxruntime"),
    ],
)
def test_what_runs_follows_the_settings_and_is_measured_beside_a_stream_alone(
    bench: Bench, background: bool, engine: str, runs: str
) -> None:
    loader, light = bench.loader(background, engine=engine), wanted(LIGHT)
    loader.wait([light])
    assert name(loader, light) == f"light by {runs}" and [each.name for each in loader.engines] == [runs]
    # Beside a stream measuring rests.
    assert bench.rests == ({background} if background or engine == "openvino" else set())


def test_what_is_expected_is_loaded_in_the_quick_way_alone_and_serves_any_size(bench: Bench) -> None:
    loader, light, balanced = bench.loader(), wanted(LIGHT, int8(LIGHT)), wanted(BALANCED)
    loader.expect([light])
    idle(loader)
    assert bench.asked == ["load light_int8 by onnxruntime"]
    assert name(loader, Wanted(light.network, (1, 40, 56))) == "light_int8 by onnxruntime"
    loader.wait([balanced, light])
    assert name(loader, light) == "light_int8 by tensorrt" and name(loader, balanced) == "balanced by tensorrt"
    assert bench.asked.count("load light_int8 by onnxruntime") == 1


def idle(loader: Loader) -> None:
    wait_for(lambda: not loader.busy, "all to be loaded")


class Step:
    """Holds the loader's thread up at a step, until it is told to go on."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        step = getattr(bench, at)

        def held(*given: Any, **named: Any) -> Any:
            self.reached.set()
            assert self.go.wait(PATIENCE_S)
            return step(*given, **named)

        monkeypatch.setattr(loader_module, at, held)


@pytest.fixture
def choosing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    """The loader's thread waits before it chooses an engine."""
    step = Step(bench, monkeypatch, "choose")
    yield step
    step.go.set()


def test_the_quick_one_serves_until_the_best_is_there(bench: Bench, choosing: Step) -> None:
    loader, light = bench.loader(), wanted(LIGHT, int8(LIGHT))
    assert name(loader, light) is None and loader.engines == []
    loader.want([light])
    assert choosing.reached.wait(PATIENCE_S)
    assert name(loader, light) == "light_int8 by onnxruntime" and loader.measured_ms(light) > 0
    assert loader.busy and loader.state == "loading light" and len(loader.engines) == 1
    choosing.go.set()
    idle(loader)
    assert name(loader, light) == "light_int8 by tensorrt"


def test_images_of_another_size_are_served_at_once(bench: Bench, choosing: Step) -> None:
    loader, light = bench.loader(), wanted(LIGHT)
    choosing.go.set()
    loader.wait([light])
    choosing.go.clear()
    other = Wanted(light.network, (2, 108, 144))
    loader.want([other])
    assert name(loader, other) == "light by onnxruntime"
    # What that takes is told by the pixels.
    part = loader.measured_ms(Wanted(light.network, (2, 27, 144)))
    assert part > 0 and loader.measured_ms(other) == pytest.approx(4 * part)
    choosing.go.set()
    idle(loader)
    assert name(loader, other) == name(loader, light) == "light by tensorrt"
    assert bench.asked.count("load light by onnxruntime") == 1


def test_what_is_wanted_no_more_is_not_loaded(bench: Bench, choosing: Step) -> None:
    loader, light, quality = bench.loader(), wanted(LIGHT), wanted(QUALITY)
    loader.want([light, quality])
    assert choosing.reached.wait(PATIENCE_S)
    loader.want([light])
    choosing.go.set()
    idle(loader)
    assert not any("choose quality" in asked for asked in bench.asked)


def test_a_damaged_file_costs_that_model_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.damaged = {"light_int8", "balanced"}
    loader, light, balanced = bench.loader(), wanted(LIGHT, int8(LIGHT)), wanted(BALANCED, int8(BALANCED))
    loader.wait([light, balanced])
    assert (name(loader, light), name(loader, balanced)) == ("light by tensorrt", "balanced_int8 by tensorrt")
    assert f"choose light for {SHAPE} by auto" in bench.asked
    assert "light_int8.onnx: sha256 is wrong" in caplog.text and "balanced.onnx: sha256 is wrong" in caplog.text


def test_a_network_all_of_whose_files_are_damaged_is_out_and_the_others_go_on(bench: Bench) -> None:
    bench.damaged = {"light", "light_int8"}
    loader, light, balanced = bench.loader(), wanted(LIGHT, int8(LIGHT)), wanted(BALANCED)
    loader.wait([light, balanced])
    assert loader.is_out(light.network) and not loader.is_out(balanced.network)
    assert name(loader, light) is None and name(loader, balanced) == "balanced by tensorrt"
    assert loader.state.startswith("light is not used: light") and "sha256 is wrong" in loader.state


def test_a_precision_that_does_not_load_leaves_the_other(bench: Bench) -> None:
    bench.broken = {("light_int8", "onnxruntime"): EngineError("light_int8: an operator is unknown")}
    loader, light = bench.loader(), wanted(LIGHT, int8(LIGHT))
    bench.broken["light_int8", "chosen"] = EngineError("the same")
    loader.wait([light])
    assert name(loader, light) == "light by onnxruntime" and loader.state == ""


def test_where_no_other_engine_can_be_used_the_quick_one_stays(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.broken = {("light", "chosen"): EngineError("no engine runs light: no GPU")}
    loader, light = bench.loader(engine="tensorrt"), wanted(LIGHT)
    loader.wait([light])
    assert name(loader, light) == "light by onnxruntime" and not loader.is_out(light.network)
    assert "no GPU; ONNX Runtime runs it" in caplog.text


def test_where_the_quick_one_cannot_be_had_the_best_serves(bench: Bench) -> None:
    bench.broken = {("light", "onnxruntime"): EngineError("ONNX Runtime is not installed")}
    loader, light = bench.loader(), wanted(LIGHT)
    loader.wait([light])
    assert name(loader, light) == "light by tensorrt"
    bench.broken["balanced", "onnxruntime"] = bench.broken["balanced", "chosen"] = EngineError("nothing is installed")
    loader.wait([wanted(BALANCED), light])
    assert loader.state == "balanced is not used: nothing is installed"


def test_where_onnx_runtime_is_all_there_may_be_and_cannot_be_had_the_network_is_out(bench: Bench) -> None:
    bench.broken = {("light", "onnxruntime"): EngineError("an operator is unknown")}
    loader, light = bench.loader(background=False), wanted(LIGHT)
    loader.wait([light])
    assert loader.is_out(light.network) and loader.state == "light is not used: an operator is unknown"


@pytest.mark.parametrize("error", [EngineError("CUDA fails"), RuntimeError("a library's own")])
def test_an_engine_that_fails_at_its_first_run_leaves_the_quick_one(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(FakeEngine):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            raise error

    monkeypatch.setattr(
        bench, "choice", lambda model, engine: Choice(Failing(bench.world, model, engine), "remembered")
    )
    loader, light = bench.loader(), wanted(LIGHT)
    loader.wait([light])
    assert name(loader, light) == "light by onnxruntime" and not loader.is_out(light.network), loader.state


@pytest.mark.parametrize("at", ["onnxruntime", "chosen"])
def test_whatever_one_network_fails_with_the_others_go_on(bench: Bench, at: str) -> None:
    bench.broken = {("light", at): MemoryError("no room")}
    loader, light, balanced = bench.loader(), wanted(LIGHT), wanted(BALANCED)
    loader.wait([light, balanced])
    assert name(loader, balanced) == "balanced by tensorrt" and not loader.busy
    if at == "chosen":
        assert name(loader, light) == "light by onnxruntime" and not loader.is_out(light.network), loader.state
    else:
        assert loader.state == "light is not used: no room"


def test_an_engine_that_fails_is_replaced_by_onnx_runtime_for_good(bench: Bench) -> None:
    loader, light = bench.loader(), wanted(LIGHT)
    loader.wait([light])
    engine = loader.engine(light)
    assert engine is not None
    loader.retire(light, engine, EngineError("device lost"))
    assert name(loader, light) == "light by onnxruntime" and not loader.is_out(light.network)
    assert bench.forgotten == [((LIGHT,), SHAPE, "auto", 0)]
    bench.asked.clear()
    loader.wait([light])
    other = Wanted(light.network, (2, 108, 144))
    loader.wait([other])
    assert bench.asked == [f"choose light for {other.shape} by onnxruntime"]


def test_onnx_runtime_itself_is_loaded_anew_and_after_three_failures_out_for_a_while(
    bench: Bench,
) -> None:
    loader, light, balanced = bench.loader(), wanted(LIGHT), wanted(BALANCED)
    loader.wait([light, balanced])
    seen = set()
    for failures in range(3):
        assert not loader.is_out(light.network)
        engine = loader.engine(light)
        assert engine is not None and engine not in seen, failures
        seen.add(engine)
        loader.retire(light, engine, EngineError("device lost"))
        loader.wait([light, balanced])
    assert loader.is_out(light.network) and loader.state == "light is not used: device lost"
    assert name(loader, balanced) == "balanced by tensorrt"
    bench.now_ns += AGAIN_NS
    loader.wait([light, balanced])
    assert not loader.is_out(light.network) and loader.state == ""
    engine = loader.engine(light)
    assert engine is not None and engine not in seen
    loader.retire(light, engine, EngineError("device lost"))
    assert loader.is_out(light.network), "one failure more is enough"


def test_onnx_runtime_serves_until_it_is_loaded_anew_but_not_where_it_hangs(bench: Bench) -> None:
    for error, serves in ((EngineError("no memory"), True), (Hang("does not return"), False)):
        loader, light = bench.loader(engine="onnxruntime", background=False), wanted(LIGHT)
        loader.wait([light])
        engine = loader.engine(light)
        assert engine is not None
        bench.broken = {("light", "onnxruntime"): EngineError("no memory")}
        loader.retire(light, engine, error)
        loader.wait([light])
        assert (loader.engine(light) is engine) == serves
        assert loader.is_out(light.network) is not serves
        bench.broken.clear()
        bench.now_ns += AGAIN_NS
        loader.wait([light])
        assert loader.engine(light) is not None and not loader.is_out(light.network)


def test_a_network_that_hangs_three_times_is_out_for_good(bench: Bench) -> None:
    loader, light = bench.loader(), wanted(LIGHT)
    for _ in range(3):
        loader.wait([light])
        engine = loader.engine(light)
        assert engine is not None
        loader.retire(light, engine, Hang("does not return"))
    bench.now_ns += 10**20
    assert loader.is_out(light.network)


@pytest.mark.parametrize("background", [True, False])
def test_what_cannot_be_loaded_is_tried_again_later(bench: Bench, background: bool) -> None:
    bench.broken = {("light", at): MemoryError("no room") for at in ("onnxruntime", "chosen")}
    loader, light = bench.loader(background), wanted(LIGHT)
    loader.wait([light])
    assert loader.is_out(light.network) and name(loader, light) is None
    bench.broken.clear()
    loader.wait([light])
    assert loader.is_out(light.network)
    bench.now_ns += AGAIN_NS
    loader.wait([light])
    assert name(loader, light) == "light by onnxruntime" and not loader.is_out(light.network)


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines for two images of 200x200 take 48 MB and a little."""
    monkeypatch.setattr(loader_module, "MEMORY_PER_PIXEL", 600)
    monkeypatch.setattr(loader_module, "MEMORY_PER_BYTE", 1)


@pytest.mark.usefixtures("heavy")
def test_engines_for_sizes_that_are_wanted_no_more_make_room(bench: Bench) -> None:
    sizes = [(2, 200 + n, 200) for n in range(4)]
    loader = bench.loader(memory_mb=100)
    network = wanted(*with_file(LIGHT)).network
    for shape in sizes:
        loader.wait([Wanted(network, shape)])
    # Two fit.
    assert [name(loader, Wanted(network, shape)) for shape in sizes] == ["light by onnxruntime"] * 2 + [
        "light by tensorrt"
    ] * 2
    loader.wait([Wanted(network, sizes[2])])
    loader.wait([Wanted(network, sizes[0])])
    assert name(loader, Wanted(network, sizes[2])) == "light by tensorrt", "it was used last"
    assert name(loader, Wanted(network, sizes[3])) == "light by onnxruntime"


@pytest.mark.usefixtures("heavy")
def test_where_the_memory_is_full_onnx_runtime_runs_the_rest(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    jobs = [wanted(*with_file(each), shape=(2, 200, 200)) for each in (LIGHT, BALANCED, QUALITY)]
    loader = bench.loader(memory_mb=100)
    loader.wait(jobs)
    assert [name(loader, job) for job in jobs] == [
        "light by tensorrt",
        "balanced by tensorrt",
        "quality by onnxruntime",
    ]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "quality is run by ONNX Runtime: another engine needs 48 MB, and memory_mb allows 100" in record.getMessage()


@pytest.mark.usefixtures("heavy")
def test_what_all_engines_hold_stays_within_the_memory_over_many_sizes(bench: Bench) -> None:
    loader = bench.loader(memory_mb=150)
    networks = [wanted(*with_file(each)).network for each in (LIGHT, BALANCED, QUALITY)]
    for n in range(30):
        loader.wait([Wanted(network, (2, 150 + 3 * (n % 11), 200)) for network in networks[: 1 + n % 3]])
        assert 0 < loader._holds_mb() <= 150
    assert len(loader.engines) < 10


@pytest.mark.usefixtures("heavy")
def test_engines_of_onnx_runtime_hold_their_weights_only(bench: Bench) -> None:
    loader = bench.loader(memory_mb=100, engine="onnxruntime")
    jobs = [wanted(*with_file(each), shape=(2, 160, 200)) for each in (LIGHT, BALANCED, QUALITY)]
    loader.wait(jobs)
    assert {name(loader, job).split(" by ")[1] for job in jobs} == {"onnxruntime"}
    assert 0 < loader._holds_mb() < 1


def test_networks_that_are_wanted_no_more_make_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "MEMORY_PER_BYTE", 40e6 / Path(__file__).stat().st_size)
    loader = bench.loader(memory_mb=100)
    light, quality = (wanted(*with_file(each)) for each in (LIGHT, QUALITY))
    loader.wait([light])
    loader.wait([quality])
    assert name(loader, quality) == "quality by tensorrt" and loader._holds_mb() <= 100
    assert loader.engine(light) is None
    loader.wait([light])
    assert loader.engine(light) is not None, "it is loaded again where it is wanted"


def with_file(of: Model) -> tuple[Model]:
    """A model of a file that is there."""
    return (model(of.name, plan=of.plan, file=Path(__file__)),)


def test_the_thread_ends_when_nothing_lacks_and_all_goes_with_the_loader(bench: Bench) -> None:
    def threads() -> int:
        return sum(thread.name == "derain loader" for thread in threading.enumerate())

    before, loader, light = threads(), bench.loader(), wanted(LIGHT)
    loader.wait([light])
    wait_for(lambda: threads() <= before, "the thread to end")
    gone = [weakref.ref(held) for held in (loader, *loader.engines, loader._first[light.network])]
    gc.disable()
    try:
        del loader
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()


def test_closing_ends_with_the_step_at_work_and_lets_go_of_all(
    bench: Bench, choosing: Step, caplog: pytest.LogCaptureFixture
) -> None:
    loader, light, balanced = bench.loader(), wanted(LIGHT), wanted(BALANCED)
    loader.want([light, balanced])
    assert choosing.reached.wait(PATIENCE_S)
    assert not loader.close(0.0) and name(loader, light) == "light by onnxruntime", "a frame may be on its way"
    choosing.go.set()
    assert loader.close(PATIENCE_S) and loader.engines == [] and name(loader, light) is None
    # It was told of at the next word of what is being done, and nothing is to be wondered at.
    assert not any("tensorrt" in asked for asked in bench.asked) and len(bench.asked) == 3 and not caplog.records
    loader.want([wanted(QUALITY)])
    assert not loader.busy and len(bench.asked) == 3


def test_who_waits_is_let_go_when_it_is_closed(bench: Bench, choosing: Step) -> None:
    loader = bench.loader()
    waiting = threading.Thread(target=loader.wait, args=([wanted(LIGHT)],), daemon=True)
    waiting.start()
    assert choosing.reached.wait(PATIENCE_S)
    loader.close(0.0)
    choosing.go.set()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
