"""Compiles a graph with TensorRT's builder, which measures on the GPU which kernels are fastest there."""

from __future__ import annotations

from typing import Any

from derain_ros.engine import EngineError, Tell

WORKSPACE_BYTES = 1 << 30


def build_plan(trt: Any, onnx_bytes: bytes, eight_bits: bool, half: bool, tell: Tell) -> bytes:
    """Compile a graph of static shapes, and return the serialized engine.

    Float parts are computed in fp16 if `half` is true, else in fp32, not in TF32. `eight_bits` allows int8. Raises
    EngineError with TensorRT's message if the build fails.
    """
    logger, monitor = make_logger(trt), _monitor(trt, tell)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_bytes):
        raise EngineError("; ".join(parser.get_error(k).desc() for k in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.progress_monitor = monitor
    if half:
        config.set_flag(trt.BuilderFlag.FP16)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    if eight_bits:
        config.set_flag(trt.BuilderFlag.INT8)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError("; ".join(logger.errors) or "the build failed and TensorRT does not say why")
    return bytes(plan)


def make_logger(trt: Any) -> Any:
    """Make a logger that collects errors for messages and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)

    return Logger()


def _monitor(trt: Any, tell: Tell) -> Any:
    """Make a monitor that reports the progress of a build's outermost phases."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self.steps.get(phase_name, 0)  # TensorRT does not know the number for some phases
            if steps > 0:
                tell(f"TensorRT: {phase_name}, {min(100, 100 * step // steps)} %")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()
