from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from derain_ros.ros.memory import give_back_memory, tune_malloc
from derain_ros.ros.process import KERNELS


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_large_buffer_that_is_freed_stays_with_the_process() -> None:
    # mallinfo2 tells how many bytes lie in mappings of their own.
    code = """if True:
        import ctypes, sys
        from derain_ros.ros.memory import tune_malloc
        libc = ctypes.CDLL(None)
        class Info(ctypes.Structure):
            _fields_ = [(name, ctypes.c_size_t) for name in
                        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
        libc.mallinfo2.restype = Info
        if sys.argv[1] == "tuned":
            assert tune_malloc()
        before = libc.mallinfo2().hblkhd
        image = bytearray(3_000_000)
        print(libc.mallinfo2().hblkhd - before > 2_000_000)
    """
    mapped = {
        how: subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        for how in ("tuned", "not")
    }
    assert mapped == {"tuned": "False", "not": "True"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_networks_gave_up_in_other_threads_goes_back_to_the_system() -> None:
    code = """if True:
        import sys, threading
        from derain_ros.bench.meters import resident_mb
        from derain_ros.ros.memory import give_back_memory, tune_malloc
        assert tune_malloc()
        def load():
            # Small, so that they come from the heap, and one is kept, so that its top cannot shrink.
            weights = [b"w" * 10_000 for _ in range(10_000)]
            kept.append(weights[-1] + b"!")
        kept, before = [], resident_mb()
        for _ in range(4):
            threads = [threading.Thread(target=load) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        give_back_memory()
        print(resident_mb() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 50, "of some 450 MB"


@pytest.mark.parametrize(("kept", "grows"), [(None, False), ("1024", True)])
def test_networks_for_other_sizes_leave_no_kernels_behind(kept: str | None, grows: bool) -> None:
    """Unless the user wants them to."""
    pytest.importorskip("openvino")
    code = """if True:
        import numpy as np
        from derain_ros.bench.meters import resident_mb
        from derain_ros.engine.openvino import OpenVinoEngine
        from derain_ros.manifest import Manifest
        from derain_ros.ros.memory import give_back_memory
        from derain_ros.ros.process import tune_process
        tune_process()
        model, held = Manifest.load().get("restore_mono_light_int8"), []
        for columns in range(64, 64 + 6 * 32, 32):
            engine = OpenVinoEngine(model, "CPU", 1, 1, print)
            engine.prepare((1, 64, columns))
            engine.run(image=np.zeros((1, 64, columns, 1), np.uint8))
            del engine
            give_back_memory()
            held.append(resident_mb())
        print(held, held[-1] - held[1])
    """
    environment = {key: value for key, value in os.environ.items() if key != KERNELS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({KERNELS: kept} if kept else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (float(done.stdout.split()[-1]) > 12) is grows, done.stdout


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert tune_malloc() is False and give_back_memory() is False
