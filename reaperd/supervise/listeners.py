"""Sockets that services are given open, and that outlive their runs: LISTEN_FDS of sd_listen_fds(3).

The daemon opens a service's sockets before the first run and keeps them while the service restarts, however
that came about: whoever connects meanwhile waits in the backlog, and the next run accepts him. All instances
of a service share them. They are closed, and socket files removed, once no run of the service is left or to
come: it was stopped, has failed for good, or is no longer configured, or no longer with that address.
"""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from reaperd.children.plan import FIRST_PASSED, Descriptors
from reaperd.config.listener import Listener, Transport
from reaperd.config.spec import ServiceSpec
from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel import sockets
from reaperd.kernel.credentials import lookup
from reaperd.supervise.service import Service


class ListenError(KernelError):
    """A socket that could not be opened.

    Attributes:
        address: which.
    """

    def __init__(self, address: str, number: int) -> None:
        super().__init__("socket", number, what=f"listen on {address}")
        self.address = address


@dataclass(slots=True)
class _Open:
    """An open socket, and the file that came with it, by device and inode."""

    socket: socket.socket
    listener: Listener
    file: tuple[int, int] | None = None


class Listeners:
    """Own the sockets of services.

    Attributes:
        look: a service that has sockets came to rest, or began a run: some may be wanted no more.
    """

    def __init__(self) -> None:
        self.look = False
        self._open: dict[tuple[str, str], _Open] = {}  # by service (all of its instances) and address

    def give(self, spec: ServiceSpec) -> tuple[tuple[tuple[str, str], ...], Descriptors]:
        """Return the environment and the descriptors by which a new run gets its sockets; they stay ours.

        Raises:
            ListenError: one of them cannot be opened; those before it stay open.
        """
        self.look = self.look or bool(self._open)
        if not spec.sockets:
            return (), ()
        found = [self._opened(spec, listener) for listener in spec.sockets]
        names = ":".join(listener.name for listener in spec.sockets)
        descriptors = tuple((each.socket.fileno(), FIRST_PASSED + index) for index, each in enumerate(found))
        self.look = True
        return (("LISTEN_FDS", str(len(found))), ("LISTEN_FDNAMES", names)), descriptors

    def rested(self) -> None:
        """Take note that a service came to rest."""
        self.look = self.look or bool(self._open)

    def settle(self, services: Iterable[Service]) -> None:
        """Close what nobody is going to use."""
        if not self.look:
            return
        self.look = False
        wanted = {
            (service.spec.base or service.spec.name, listener.address)
            for service in services
            if not service.at_rest() or service.again
            for listener in service.spec.sockets
        }
        for key in self._open.keys() - wanted:
            _close(self._open.pop(key))

    def end(self) -> None:
        """Close all; the daemon is leaving."""
        while self._open:
            _close(self._open.popitem()[1])

    def _opened(self, spec: ServiceSpec, listener: Listener) -> _Open:
        key = (spec.base or spec.name, listener.address)
        known = self._open.get(key)
        if known is not None and known.listener == listener:
            return known
        try:
            if known is None:
                known = _Open(_socket(listener), listener)
                self._open[key] = known
            elif listener.transport is not Transport.UDP:
                known.socket.listen(listener.backlog)
            _dress(known, listener, spec)
        except OSError as error:
            if known is not None:
                _close(self._open.pop(key))
            raise ListenError(listener.address, error.errno or 0) from error
        known.listener = listener
        return known


def _socket(listener: Listener) -> socket.socket:
    match listener.transport:
        case Transport.TCP:
            return sockets.listen_tcp(listener.host, listener.port, listener.backlog)
        case Transport.UDP:
            return sockets.bind_udp(listener.host, listener.port)
        case Transport.UNIX:
            return sockets.listen_unix(listener.host, listener.backlog)


def _dress(opened: _Open, listener: Listener, spec: ServiceSpec) -> None:
    """Give a socket file its owner, then its mode: nobody is let in who is not to be."""
    if listener.path is None:
        return
    found = listener.path.lstat()
    opened.file = (found.st_dev, found.st_ino)
    user, group = listener.user or spec.user, listener.group or spec.group
    if user is not None or group is not None:
        try:
            identity = lookup(user, group, ())
        except ReaperdError as error:
            raise FileNotFoundError(2, error.message) from error
        if identity is not None:
            uid = identity.uid if user is not None else -1
            os.chown(listener.path, uid, identity.gid, follow_symlinks=False)
    listener.path.chmod(listener.mode)


def _close(opened: _Open) -> None:
    opened.socket.close()
    path = opened.listener.path
    if path is None or opened.file is None:
        return
    with suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) == opened.file:
            path.unlink()
