"""Runs the node in a separate process, watches it, and ends it as a user's Ctrl-C does."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from derain_ros.config import Config
from derain_ros.replay.records import ReplayError
from derain_ros.resources import default_file

BOOTSTRAP = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
PROFILE, BUILTIN = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"
NODE = (
    "import sys; from derain_ros.ros.node import main; from derain_ros.replay.child import end_with_parent; "
    "end_with_parent(); sys.exit(main())"
)
ENDS_S = 20.0
KILLED_AFTER_S = 5.0


def transport_environment() -> dict[str, str]:
    """Return the DDS settings of player and node: large shared memory, and discovery on this machine only.

    Settings that the user has made are kept.
    """
    own = os.environ.get(PROFILE) or os.environ.get(BUILTIN)
    profile = {} if own else {PROFILE: str(default_file("fastdds.xml"))}
    return {**profile, "ROS_AUTOMATIC_DISCOVERY_RANGE": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "LOCALHOST"}


def join_own_domain() -> None:
    """Choose a random DDS domain for this process and its node, apart from a robot that runs on this machine."""
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 101))


def end_with_parent() -> None:
    """Send this process SIGINT once its standard input closes, which is the case when its parent has ended in any way.

    Send it SIGKILL if it has not ended ENDS_S later.
    """

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(ENDS_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="derain parent", daemon=True).start()


class NodeProcess:
    """The derain node with these settings, running while the context is open; `code` is the Python code that runs it.

    `check` and `end` raise ReplayError if it has ended by itself or does not end properly.
    """

    def __init__(self, config: Config, models: Path | None, code: str = NODE) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="derain")
        directory = Path(self._directory.name)
        settings = {**dataclasses.asdict(config), "models": str(models.resolve()) if models else ""}
        # JSON is valid YAML, and floats stay floats.
        (directory / "parameters.yaml").write_text(json.dumps({"/**": {"ros__parameters": settings}}))
        self._log = directory / "node.log"
        environment = {**os.environ, **transport_environment(), "PYTHONUNBUFFERED": "1"}
        environment.pop(BOOTSTRAP, None)  # the wheels of ROS 2 must set up the new process, too
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, "--ros-args", "--params-file", str(directory / "parameters.yaml")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )  # Ctrl-C reaches the player, which ends the node in order

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise ReplayError if the node has ended."""
        code = self._process.poll()
        if code is not None:
            raise ReplayError(f"the node ended by itself with exit code {code}; its last output: {self._last_words()}")

    def end(self) -> None:
        """End the node with SIGINT; ReplayError unless it exits with code 0 within ENDS_S."""
        self.check()
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            raise ReplayError(
                f"the node did not end {ENDS_S:.0f} s after SIGINT; its last output: {self._last_words()}"
            ) from None
        if code != 0:
            raise ReplayError(
                f"the node ended with exit code {code} after SIGINT; its last output: {self._last_words()}"
            )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after Ctrl-C: a node that is killed leaves its shared memory behind.
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(KILLED_AFTER_S)
        finally:
            self._process.kill()
            self._process.communicate()
            self._directory.cleanup()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-12:]) or "nothing"
