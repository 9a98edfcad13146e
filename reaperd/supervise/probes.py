"""Ask a service whether it is there: one question at a time, without ever waiting for the answer.

A connection to an address is made here, without blocking. What has to resolve a name, speak HTTP or run a
command is a helper's. Either way each question has one answer, within its time.
"""

import errno
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reaperd.config.spec import Asking, ExecCheck, HttpCheck, ServiceSpec, TcpCheck
from reaperd.errors import KernelError
from reaperd.loop.poller import WRITE, Phase
from reaperd.supervise import netcheck
from reaperd.supervise.helper import Errand, Finished, Order
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.orders import outfit
from reaperd.supervise.world import Pulse, World
from reaperd.units import format_duration

_NETCHECK: Final = str(Path(netcheck.__file__).resolve())

Address = tuple[socket.AddressFamily, str]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question: `problem` is None where all is well."""

    service: str
    errand: Errand
    problem: str | None


@dataclass(slots=True)
class _Connecting:
    """A connection on its way, and what to try if it fails."""

    spec: ServiceSpec
    errand: Errand
    port: int
    left: list[Address]
    timeout_ns: int
    made: socket.socket


class Probes:
    """Ask services.

    Implements `loop.poller.Source` for connections on their way.

    Args:
        world: what is acted through.
        helpers: run what must not run here.
        tell: takes each answer.
    """

    name = "checks"
    phase = Phase.REPORTS

    def __init__(self, world: World, helpers: Helpers, tell: Callable[[Answered], None]) -> None:
        self._world = world
        self._helpers = helpers
        self._tell = tell
        self._by_fd: dict[int, _Connecting] = {}
        self._by_name: dict[str, _Connecting] = {}

    def ask(self, spec: ServiceSpec, errand: Errand, check: Asking, timeout_ns: int) -> None:
        """Ask; the answer may come before this returns."""
        match check:
            case TcpCheck(host=host, port=port):
                addresses = literal(host)
                if addresses:
                    self._connect(spec, errand, port, addresses, timeout_ns)
                else:
                    self._order(alone(spec, "tcp", host, str(port)), errand, timeout_ns)
            case HttpCheck(url=url):
                self._order(alone(spec, url), errand, timeout_ns)
            case ExecCheck(command=command):
                self._order(outfit(spec, command), errand, timeout_ns)

    def end(self, service: str, errand: Errand) -> None:
        """Ask no more; harmless where nothing was asked."""
        self._helpers.end(service, errand)
        connecting = self._by_name.get(service)
        if connecting is not None and connecting.errand is errand:
            self._close(connecting)

    def finished(self, finished: Finished) -> None:
        """Take the end of a helper that was asked."""
        order, problem = finished.order, finished.problem()
        if problem is not None and finished.said and order.spec.command[:1] == (sys.executable,):
            problem = finished.said  # our own script says it all
        self._tell(Answered(order.service, order.errand, problem))

    def _order(self, spec: ServiceSpec, errand: Errand, timeout_ns: int) -> None:
        if self._helpers.is_there(spec.name, errand):
            # Killed, but not gone: in state D, or the machine is very busy. No heap of them may grow.
            self._tell(Answered(spec.name, errand, "the check before it has still not ended"))
            return
        self._helpers.run(Order(spec.name, errand, spec, timeout_ns))

    # --- connections ------------------------------------------------------------------------------------

    def due(self, service: str) -> None:
        """Give up on a connection whose time is over."""
        connecting = self._by_name.get(service)
        if connecting is not None:
            reason = f"no answer within {format_duration(connecting.timeout_ns)}"
            self._conclude(connecting, reason)

    def ready(self, fd: int, events: int) -> None:
        """Learn how a connection turned out."""
        del events
        connecting = self._by_fd[fd]
        number = connecting.made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._turned_out(connecting, number)

    def failed(self, fd: int) -> None:
        """Give up on a connection that cannot be asked about."""
        self._conclude(self._by_fd[fd], "cannot tell whether it accepts connections")

    def _connect(
        self, spec: ServiceSpec, errand: Errand, port: int, addresses: list[Address], timeout_ns: int
    ) -> None:
        (family, host), *left = addresses
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            if left:
                self._connect(spec, errand, port, left, timeout_ns)
            else:
                self._tell(Answered(spec.name, errand, error.strerror))
            return
        connecting = _Connecting(spec, errand, port, left, timeout_ns, made)
        self._by_fd[made.fileno()] = self._by_name[spec.name] = connecting
        number = made.connect_ex((host, port))
        if number == errno.EINPROGRESS:
            self._await(connecting)
        else:
            self._turned_out(connecting, number)

    def _await(self, connecting: _Connecting) -> None:
        try:
            self._world.poller.watch(connecting.made.fileno(), self, WRITE)
        except KernelError as error:
            self._conclude(connecting, error.message)
            return
        key = (connecting.spec.name, Pulse.ANSWER)
        if self._world.timers.at_ns(key) is None:
            self._world.timers.arm(key, self._world.clock() + connecting.timeout_ns)

    def _turned_out(self, connecting: _Connecting, number: int) -> None:
        if number == 0 and _is_own_end(connecting.made):
            number = errno.ECONNREFUSED
        if number == 0 or not connecting.left:
            self._conclude(connecting, os.strerror(number) if number else None)
            return
        self._leave(connecting)
        each = connecting
        self._connect(each.spec, each.errand, each.port, each.left, each.timeout_ns)

    def _conclude(self, connecting: _Connecting, problem: str | None) -> None:
        self._close(connecting)
        self._tell(Answered(connecting.spec.name, connecting.errand, problem))

    def _close(self, connecting: _Connecting) -> None:
        self._world.timers.cancel((connecting.spec.name, Pulse.ANSWER))
        self._leave(connecting)

    def _leave(self, connecting: _Connecting) -> None:
        fd = connecting.made.fileno()
        self._world.poller.drop(fd)
        del self._by_fd[fd], self._by_name[connecting.spec.name]
        connecting.made.close()


def alone(spec: ServiceSpec, *words: str) -> ServiceSpec:
    """Return a helper of our own that asks on behalf of a service, with nothing of that service's.

    Its user may not be allowed to run our interpreter, and what its environment makes an interpreter load
    is not to be loaded with our rights.
    """
    return ServiceSpec(name=spec.name, command=(sys.executable, "-I", "-S", _NETCHECK, *words))


def literal(host: str) -> list[Address]:
    """Return the addresses that `host` means without asking anybody; none for a name."""
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    return [(family, host) for family in (socket.AF_INET, socket.AF_INET6) if _is_address(family, host)]


def _is_address(family: socket.AddressFamily, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def _is_own_end(made: socket.socket) -> bool:
    """Tell whether a connection is its own other end: what asks a free port of its own range may get it."""
    try:
        return bool(made.getsockname() == made.getpeername())
    except OSError:
        return False
