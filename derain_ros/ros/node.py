"""The life-cycle node: converts messages, pairs them, hands them to the worker and publishes what comes back."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from derain_ros.config import ConfigError
from derain_ros.frame import Action, Frame, FrameSet, Result
from derain_ros.ros import parameters
from derain_ros.ros.diagnostics import Health, Statistics
from derain_ros.ros.fused import FusedTopics
from derain_ros.ros.hints import Hints
from derain_ros.ros.inputs import Inputs
from derain_ros.ros.intake import Intake
from derain_ros.ros.log import CameraLog, RosLogHandler
from derain_ros.ros.mailbox import Job
from derain_ros.ros.memory import give_back_memory
from derain_ros.ros.messages import write_status
from derain_ros.ros.process import tune_process
from derain_ros.ros.qos import LATCHED_OUT, STATUS_OUT, overridden
from derain_ros.ros.services import answer_always
from derain_ros.ros.topics import CameraTopics, create_output
from derain_ros.ros.worker import Worker
from derain_ros.runtime.status import statuses_of

SPIN_S = 0.5
"""How long the executor waits at the most, and so how soon a signal is looked at; to wait anew costs half a ms."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DerainNode(LifecycleNode):
    """Restores the images of the configured cameras; configures and activates itself unless told not to.

    The thread of the inputs takes messages in and pairs them, the worker's runs the pipeline and publishes; all else is
    done where the node is spun, in one thread. Inputs are subscribed to while the node is active and, where it is lazy,
    somebody subscribes to an output. `arguments` are those of rclpy's Node. Raises ConfigError or rclpy's
    ParameterException where a parameter cannot be used.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("derain", **arguments)
        self._log_handler = RosLogHandler(self.get_logger())
        self._state, self._failure, self._affected = "unconfigured", "", False
        self._worker: Worker | None = None
        self.at_rest = True
        """Whether the networks of all that was taken down have ended."""
        self._topics: dict[str, CameraTopics] = {}
        self._fused: FusedTopics | None = None
        self._inputs: Inputs | None = None
        self._taking = threading.Lock()
        try:
            self._config = parameters.declare(self)
            self._anomaly = create_output(self, Bool, "~/anomaly", LATCHED_OUT, self._attend)
            self._status = create_output(self, DiagnosticArray, "~/status", STATUS_OUT, self._attend)
            self._diagnostics = self.create_publisher(
                DiagnosticArray,
                "/diagnostics",
                overridden(self, Publisher, self.resolve_topic_name("/diagnostics"), STATUS_OUT),
            )
        except (ConfigError, ParameterException):
            self.destroy_node()
            raise
        self.statistics = Statistics(self._config.cameras, self._config.thermal)
        self._intake = Intake(
            self._config, self.statistics, self._put, lambda: self.get_clock().now().nanoseconds, self.get_logger()
        )
        self._hints = Hints(self)
        self._log = CameraLog(self.get_logger())
        library = logging.getLogger("derain_ros")
        library.addHandler(self._log_handler)
        library.setLevel(logging.DEBUG)  # the log level of ROS says what is shown of it
        self.add_on_set_parameters_callback(lambda changes: parameters.check(self._config, changes))
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._enable = self.create_service(SetBool, "~/enable", self._on_enable)
        self._reported_s = time.monotonic()
        # Reports go on while a simulated clock stands still.
        self._timer = self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        answer_always(self)
        if self._config.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @property
    def engine(self) -> str:
        """How far the models are: not loaded, loading, ready, or failed and why."""
        return self._worker.engine if self._worker else "not loaded"

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the topics and begin to load the models."""
        config = self._config
        try:
            for camera in config.cameras:
                self._topics[camera] = CameraTopics(self, camera, self._attend)
            self._inputs = Inputs(self, config, self._on_image, self._on_thermal, self._on_info)
            self._worker = Worker(
                config, self.get_parameter(parameters.MODELS).value, self._publish, self._drop, self.get_logger()
            )
            if config.thermal:
                self._worker.fusion.nearest = self._nearest_thermal
                self._fused = FusedTopics(
                    self, config.cameras[0], self._inputs.names, self._worker.fusion, self._attend
                )
            parameters.warn_of_qos(self)
        except Exception as error:
            # rclpy would swallow it and leave the user without a word.
            self._failure = f"the node cannot be configured: {error}"
            self.get_logger().error(self._failure)
            self._take_down()
            return FAILURE
        self._state, self._failure = "inactive", ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take frames in."""
        assert self._worker is not None
        super().on_activate(state)
        self._worker.start()
        self._affected = self._worker.affected
        self._anomaly.publish(Bool(data=self._affected))
        self._state = "active"
        self.get_logger().info(f"active for {', '.join(self._config.cameras)}; models: {self._worker.engine}")
        self._attend()
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more frames in; the frame set in work is still published."""
        self._stop()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give up the topics and the models."""
        self._take_down()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good."""
        self._take_down()
        self._state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed, of which rclpy says nothing: give up what there is, to be configured anew."""
        self.get_logger().error(f"a change of the state {state.label} failed; the node is unconfigured")
        self._take_down()
        self._state = "unconfigured"
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the threads, then destroy all that belongs to the node."""
        self._take_down()
        library = logging.getLogger("derain_ros")
        library.removeHandler(self._log_handler)
        if not library.handlers:
            library.setLevel(logging.NOTSET)
        super().destroy_node()

    def _stop(self) -> None:
        self._state = "stopping" if self._state == "active" else self._state
        if self._inputs is not None:
            self._inputs.close()
            self._forget()
        if self._worker is not None:
            self._worker.stop()

    def _take_down(self) -> None:
        self._stop()
        if self._worker is not None:
            self.at_rest = self._worker.close() and self.at_rest
        for topics in self._topics.values():
            topics.destroy()
        if self._fused is not None:
            self._fused.destroy()
        self._worker, self._topics, self._inputs, self._fused = None, {}, None, None
        give_back_memory()

    def _attend(self, _: object = None) -> None:
        """Subscribe to the inputs, or unsubscribe, as outputs are wanted; called as that changes, and every second."""
        if self._state != "active" or self._inputs is None:
            return
        outputs = [self._anomaly, self._status, *self._camera_publishers()]
        if self._fused is not None:
            self._fused.attend()
        wanted = not self._config.lazy or any(output.get_subscription_count() for output in outputs)
        if self._inputs.attend(wanted, time.monotonic()):
            self._forget()

    def _forget(self) -> None:
        """Nothing that comes has to do with what came before; what waits for its counterpart is given up."""
        with self._taking:
            self._intake.synchronizer.clear()
            self._intake.arrivals.clear()
        self._hints = Hints(self)

    def _on_image(self, camera: str, message: bytes, lost: int) -> None:
        with self._taking:
            self._intake.take(camera, message, lost)

    def _on_thermal(self, camera: str, message: bytes, lost: int) -> None:
        with self._taking:
            self._intake.take_thermal(camera, message, lost)

    def _on_info(self, camera: str, message: bytes) -> None:
        if camera in self._topics:
            self._topics[camera].take_info(message)
        if self._fused is not None:
            self._fused.take_info(camera, message)

    def _nearest_thermal(self, frame: Frame) -> Frame | None:
        with self._taking:
            return self._intake.synchronizer.nearest_thermal(frame)

    def _put(self, job: Job) -> None:
        assert self._worker is not None
        self._worker.put(job)

    def _drop(self, frames: FrameSet) -> None:
        for camera in frames.frames:
            self.statistics.count(camera, "dropped")

    def _publish(self, frames: FrameSet, result: Result) -> None:
        """Publish one frame set; called by the worker."""
        for camera, done in result.cameras.items():
            try:
                self._topics[camera].publish(frames.frames[camera], done)
            except Exception as error:
                self._log.error(camera, f"a frame could not be published: {error!r}")
                self.statistics.count(camera, "dropped")
            else:
                self.statistics.count(camera, "published", done.action.value)
        if result.stage_ms and self._worker is not None:
            self._worker.published()
            latency_ms = (time.monotonic_ns() - frames.received_ns) / 1e6
            over = any(done.action is Action.PASSED_BUDGET for done in result.cameras.values())
            self.statistics.finish(latency_ms, over or latency_ms > self._config.budget_ms)
        if self._fused is not None and self._worker is not None:
            result = self._worker.fuse(result)
            self._fused.publish(frames, result)
        self.statistics.see(result)
        if self._status.get_subscription_count():
            stamp_ns = next(iter(frames.frames.values())).stamp_ns
            self._status.publish(write_status(statuses_of(result), stamp_ns))
        if result.affected != self._affected:
            self._affected = result.affected
            self._anomaly.publish(Bool(data=result.affected))
        for camera, done in result.cameras.items():
            try:
                self._topics[camera].publish_rest(frames.frames[camera], done)
            except Exception as error:
                self._log.error(camera, f"a mask or a compressed image could not be published: {error}")

    def _apply_parameters(self, changes: Sequence[Parameter]) -> None:
        self._config = parameters.changed(self._config, changes)
        with self._taking:
            self._intake.apply(self._config)
        if self._worker is not None:
            self._worker.apply(self._config)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (result,) = self.set_parameters([Parameter("enabled", value=request.data)])
        response.success = result.successful
        done = "restoring" if request.data else "passing every frame on untouched"
        response.message = done if result.successful else result.reason
        return response

    def _report(self) -> None:
        now_s = time.monotonic()
        seconds, self._reported_s = max(now_s - self._reported_s, 1e-3), now_s
        self._attend()
        health = Health(
            self._state,
            self.engine,
            self._worker.models if self._worker else "none",
            self._config.enabled,
            self._affected,
            self._config.budget_ms,
            self._find_hints(now_s),
            self._inputs is not None and self._inputs.is_open,
            self._failure,
        )
        report = DiagnosticArray(
            status=self.statistics.report(self.get_fully_qualified_name().lstrip("/"), health, seconds)
        )
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)

    def _find_hints(self, now_s: float) -> list[str]:
        if self._inputs is None or not self._inputs.is_open:
            return self._hints.look_aside(now_s)
        inputs = self._inputs.names
        with self._taking:
            arrivals = list(self._intake.arrivals)
        return self._hints.look(
            now_s,
            {name: self.statistics.counts(name) for name in inputs},
            arrivals,
            self._config.pair_tolerance_ms,
            inputs,
            [publisher.topic_name for publisher in self._camera_publishers()],
        )

    def _camera_publishers(self) -> list[Publisher]:
        fused = self._fused.publishers if self._fused is not None else []
        return [*(publisher for topics in self._topics.values() for publisher in topics.publishers), *fused]


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code: 0, or 1 where what it was started with is no use."""
    tune_process()
    # Before rclpy's handlers could be there: ours lets the frame set in work go out while the context is still valid,
    # and takes the second SIGINT that `ros2 launch` sends for the first.
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopping.append(number))
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = DerainNode()
    except (ConfigError, ParameterException, RuntimeError) as error:
        # RuntimeError: arguments that rcl cannot read, or a middleware without what is asked of it, such as security;
        # rcl's errors have no other common base.
        rclpy.logging.get_logger("derain").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok() and not stopping:
        try:
            executor.spin_once(timeout_sec=SPIN_S)
        except ExternalShutdownException:
            break
        except Exception as error:
            # Nothing that a callback does may end the stream.
            node.get_logger().error(f"a callback failed: {error!r}")
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    if not node.at_rest:
        # A network that hangs, or is compiled for minutes: its library would abort the process.
        sys.stdout.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
