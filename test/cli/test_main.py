from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from waiting import PATIENCE_S

import derain_ros
from derain_ros.cli.main import EXTRA_OF_MODULE, Commands, app, explain
from derain_ros.config import ConfigError
from derain_ros.manifest import ManifestError

DERAIN = [sys.executable, "-c", "from derain_ros.cli.main import app; app(prog_name='derain')"]
COMMANDS = (
    ["node"],
    ["demo"],
    ["replay"],
    ["frames"],
    ["models"],
    ["doctor"],
    ["train", "restore"],
    ["train", "detect"],
    ["rain", "gallery"],
    ["engine", "selftest"],
    ["bench", "node"],
    ["export"],
    ["quantize"],
    ["evaluate", "restoration"],
    ["evaluate", "sequence"],
    ["evaluate", "odometry"],
    ["table", "speed"],
    ["table", "ablation"],
    ["table", "initialisation"],
)
HEAVY = ("cv2", "matplotlib", "onnxruntime", "rclpy", "rosbags", "torch")


def derain(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `derain` in a process of its own."""
    # Away from the tree, so that what is found there by chance does not help.
    return subprocess.run(
        [*DERAIN, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE_S
    )


def command_that_raises(error: BaseException) -> typer.Typer:
    """A program with the error handling of `derain` whose one command raises `error`."""
    program = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)

    @program.callback()
    def group() -> None:
        pass

    @program.command()
    def fail() -> None:
        raise error

    return program


def test_sigterm_unwinds_what_is_under_way(tmp_path: Path) -> None:
    # As a context manager that ends the processes it has started. It sleeps in short naps: Python sees a signal that
    # comes just before a sleep only after it.
    code = (
        "import time, typer; from derain_ros.cli.main import Commands; app = typer.Typer(cls=Commands)\n"
        "@app.callback()\ndef group(): pass\n@app.command()\ndef work():\n"
        "    try:\n        print('ready', flush=True)\n        while True: time.sleep(0.01)\n"
        "    finally:\n        print('ended')\n"
        "app(['work'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.communicate(timeout=PATIENCE_S)[0] == "ended\n"
    assert process.returncode == 143


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    first_words = {line.strip(" │").partition(" ")[0] for line in result.output.splitlines()}
    assert {names[0] for names in COMMANDS} <= first_words


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_of_itself(names: list[str]) -> None:
    result = CliRunner().invoke(app, [*names, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"derain {' '.join(names)}" in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"derain {derain_ros.__version__}\n")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, derain_ros.cli.main; print([n for n in {HEAVY} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["models", "--nonsense"], ["export"], ["node", "nonsense"]], ids=" ".join
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_failure_is_one_line_on_stderr_and_exits_1(tmp_path: Path) -> None:
    done = derain("models", "--models", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"derain: {tmp_path / 'models.yaml'}: cannot be read")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = derain("models", "--models", str(tmp_path), DERAIN_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong"), 2),
        (ManifestError("damaged"), 1),
        (FileNotFoundError(2, "No such file", "bag"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_tells_the_kind_of_error(error: BaseException, code: int) -> None:
    result = CliRunner().invoke(command_that_raises(error), ["fail"])
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_defect_keeps_its_traceback() -> None:
    error = ValueError("a defect")
    assert explain(error) is None
    assert CliRunner().invoke(command_that_raises(error), ["fail"]).exception is error


@pytest.mark.parametrize(("name", "extra"), EXTRA_OF_MODULE.items())
def test_missing_extra_says_how_to_install_it(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as raised:
        __import__(name)
    assert f"pip install 'derain_ros[{extra}]'" in str(explain(raised.value))


def test_missing_module_that_no_extra_brings_is_a_defect() -> None:
    assert explain(ModuleNotFoundError("No module named 'derain_ros.nonsense'", name="derain_ros.nonsense")) is None


def test_a_library_that_does_not_load_is_told_with_its_cause() -> None:
    error = ImportError("libGL.so.1: cannot open shared object file", name="cv2")
    assert explain(error) is None, "OpenCV is no extra: a broken one deserves its traceback"
    told = explain(ImportError("cannot import name 'zstd' from 'backports'", name="backports"))
    assert told is not None and "cannot be loaded (cannot import name 'zstd'" in told and "[replay]" in told
