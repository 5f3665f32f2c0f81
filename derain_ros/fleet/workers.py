"""Executors for the work: processes of this machine, any of which may be killed, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from derain_ros.fleet import FleetError


class WorkerLost(RuntimeError):
    """A worker ended before its work was done."""


class Workers(Executor):
    """An executor of `count` processes; the work of a killed process raises WorkerLost, and a new process replaces it.

    The standard library's ProcessPoolExecutor breaks if one of its processes is killed.
    """

    def __init__(self, count: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._threads = ThreadPoolExecutor(count, "derain worker")  # each thread has a process
        self._own = threading.local()
        self._running: dict[SpawnProcess, Connection] = {}
        self._given_up = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a module-level function in one of the processes; arguments and result must be picklable."""
        return self._threads.submit(self._call, (fn, args, kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes when their work is done; with `cancel_futures`, kill them at once."""
        self._threads.shutdown(wait=False, cancel_futures=cancel_futures)
        self._given_up = cancel_futures
        if cancel_futures:
            for process in list(self._running):
                process.kill()
        self._threads.shutdown(wait)
        for process, pipe in list(self._running.items()):
            pipe.close()
            process.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _call(self, work: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
        """In a thread: let its process do the work; WorkerLost if the process ends."""
        process: SpawnProcess | None = getattr(self._own, "process", None)
        if process is None:
            pipe, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that reading ends when the process ends
            self._own.process, self._running[process] = process, pipe
            if self._given_up:
                process.kill()
        pipe = self._running[process]
        try:
            pipe.send(work)
            answer, error = pipe.recv()
        except (EOFError, OSError):
            self._own.process = None
            del self._running[process]
            pipe.close()
            process.join()
            raise WorkerLost(
                f"a worker ended with exit code {process.exitcode}; -9 may mean that memory ran out"
            ) from None
        if error is not None:
            raise error
        return answer


def _serve(pipe: Connection) -> None:
    """In a process: do the work that the pipe delivers, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    while True:
        try:
            function, args, kwargs = pipe.recv()
        except EOFError:
            return
        answer, raised = None, None
        try:
            answer = function(*args, **kwargs)
        except Exception as error:
            raised = error
        pipe.send((answer, raised))


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The executor of a Dask cluster, by the address of its scheduler, and the number of its workers' threads.

    FleetError if no scheduler answers, or if there is no worker.
    """
    from distributed import Client

    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise FleetError(
            f"{address}: the Dask scheduler does not answer ({error}); start one with `dask scheduler`"
        ) from error
    with client:
        count = sum(client.nthreads().values())
        if not count:
            raise FleetError(f"{address}: the cluster has no workers; start some with `dask worker {address}`")
        executor = client.get_executor(pure=False)
        try:
            yield executor, count
        finally:
            executor.shutdown(wait=False)
