"""Be workers on many machines: actors of a Ray cluster, each on one core."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cosim.ir.errors import UserError
from cosim.sweep.executor import Event
from cosim.sweep.store import this_version

T = TypeVar("T")
R = TypeVar("R")
KNOCK_SECONDS = 5.0


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at host:port; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


class _Actor(Generic[T, R]):
    """Do tasks, somewhere in the cluster."""

    def __init__(self, work: Callable[[T], R]) -> None:
        self.work = work

    def version(self) -> str:
        """Return what is installed there."""
        return this_version().text()

    def answer(self, task: T) -> R:
        """Do one task."""
        return self.work(task)


class RayWorkers(Generic[T, R]):
    """Hold so many actors; `work` is put into the cluster once.

    `address` is that of a running cluster, or "local" to start one of `size` cores on this machine.
    Every machine needs this version of cosim, since results of two would be mixed.
    """

    # Ray may lose an answer whose actor dies soon after it.
    held = 1

    def __init__(self, work: Callable[[T], R], size: int, address: str = "local") -> None:
        """Join the cluster; raise UserError where Ray is not installed or nobody answers."""
        # Nobody asked for reports to Ray's makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UserError(
                "the executor ray needs Ray; install it with `pip install 'cosim-toolkit[ray]'`, "
                "or choose --executor pool"
            ) from None
        self.ray, self.size, self.version = ray, size, this_version().text()
        self.ours = not ray.is_initialized()
        if self.ours:
            self._join(size, address)
        self.work = ray.put(work)
        # ray types neither the wrapper nor what it makes
        self.actor: Any = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        self.running: dict[int, tuple[Any, deque[tuple[str, Any]]]] = {}

    def _join(self, size: int, address: str) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            _knock(address)
            if address == "local":
                self.ray.init("local", num_cpus=size, include_dashboard=False, **quiet)
            else:
                self.ray.init(address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"no Ray cluster at {address} ({why}); start one with `ray start --head`, or leave "
                "--ray out"
            ) from None

    def start(self, worker: int) -> None:
        """Place an actor; Ray waits until a core is free."""
        actor = self.actor.remote(self.work)
        self.running[worker] = actor, deque([("ready", actor.version.remote())])

    def send(self, worker: int, task: T) -> None:
        """Ask an actor."""
        actor, asked = self.running[worker]
        asked.append(("answer", actor.answer.remote(task)))

    def wait(self) -> list[Event[R]]:
        """Wait for the first thing that happens."""
        first = {asked[0][1]: worker for worker, (_, asked) in self.running.items() if asked}
        ready, _ = self.ray.wait(list(first), num_returns=1)
        return [self._event(first[ref], ref) for ref in ready]

    def _event(self, worker: int, ref: Any) -> Event[R]:
        _, asked = self.running[worker]
        kind, _ = asked.popleft()
        try:
            found = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            return Event(worker, "fault", text=str(error))
        except self.ray.exceptions.RayError as error:
            del self.running[worker]
            return Event(worker, "death", text=f"Ray: {str(error).strip().splitlines()[0]}")
        if kind == "answer":
            return Event(worker, "answer", found)
        if found != self.version:
            raise UserError(
                f"a machine of the cluster has {found} and this one {self.version}: their points "
                "may differ; install the same on all"
            )
        return Event(worker, "ready")

    def close(self) -> None:
        """End all actors, and the cluster if it is ours."""
        for actor, _ in self.running.values():
            self.ray.kill(actor)
        self.running.clear()
        if self.ours:
            self.ray.shutdown()
