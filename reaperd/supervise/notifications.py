"""Hear what services say of themselves: one socket for each run, and proof of who speaks.

The kernel names the sender of each message. It counts where that process descends from the run or, with
`notify_access = "main"`, is its main process; a stranger's message is told to the log and has no effect.
Descent is read from /proc, so a sender has to live (or be a zombie) until its message is read: whoever ends
at once waits for the answer to `BARRIER=1` first, as systemd-notify(1) does.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import NotifyAccess
from reaperd.errors import KernelError
from reaperd.kernel import datagrams, pidfd
from reaperd.kernel.datagrams import Datagram
from reaperd.loop.poller import Phase
from reaperd.policy.words import Event, Ready, State, StopAnnounced, Timer
from reaperd.sd.notify import Notification, parse
from reaperd.supervise.service import Service
from reaperd.supervise.watchdogs import Watchdogs
from reaperd.supervise.world import World

_A_TURN: Final = 32  # messages of one service
_USEC_NS: Final = 1000
_EXTENDED: Final = {State.STARTING: Timer.READY, State.STOPPING: Timer.GRACE}


@dataclass(slots=True)
class _Listener:
    """A run's socket."""

    service: Service
    run_id: str
    receiver: socket.socket
    ignored: int = 0


class Notifications:
    """Own the runs' sockets and act on what comes in. Implements `loop.poller.Source` for them.

    Attributes:
        watchdogs: those that are to be heard from time to time.
    """

    name = "notifications"
    phase = Phase.REPORTS

    def __init__(self, world: World, post: Callable[[Service, Event], None]) -> None:
        self.watchdogs = Watchdogs(world, post)
        self._world = world
        self._post = post
        self._by_fd: dict[int, _Listener] = {}
        self._fd_of: dict[str, int] = {}  # by service

    def open(self, service: Service, run_id: str) -> str:
        """Make the socket of a new run; return the value of its NOTIFY_SOCKET.

        Raises:
            KernelError: no descriptor is left.
        """
        name = f"reaperd/notify/{run_id}"
        receiver = datagrams.open_receiver(name.encode())
        self._by_fd[receiver.fileno()] = _Listener(service, run_id, receiver)
        self._fd_of[service.spec.name] = receiver.fileno()
        return f"@{name}"

    def listen(self, service: Service) -> None:
        """Begin to read; what was said before waits in the socket."""
        self._world.poller.watch(self._fd_of[service.spec.name], self)

    def close(self, service: Service) -> None:
        """Close the socket of the run that is over; harmless where there is none."""
        fd = self._fd_of.pop(service.spec.name, None)
        if fd is not None:
            self._world.poller.drop(fd)
            self._by_fd.pop(fd).receiver.close()

    def ready(self, fd: int, events: int) -> None:
        """Act on what was said, in the order in which it was."""
        del events
        listener = self._by_fd[fd]
        for _ in range(_A_TURN):
            datagram = datagrams.receive(listener.receiver)
            if datagram is None:
                return
            try:
                self._take(listener, datagram)
            finally:
                # Also the answer to a barrier: whoever waits for it sees its descriptor closed.
                datagram.close()

    def failed(self, fd: int) -> None:
        """Close a socket that cannot be read."""
        self.close(self._by_fd[fd].service)

    def _take(self, listener: _Listener, datagram: Datagram) -> None:
        said = parse(datagram.data)
        if said.barrier:
            return
        reason = self._objection(listener, datagram)
        if reason is None:
            self._act(listener, said)
        else:
            self._ignore(listener, datagram, reason)

    def _act(self, listener: _Listener, said: Notification) -> None:
        service = listener.service
        if said.status is not None:
            service.said = said.status or None
        if said.main_pid is not None:
            self._name_main(listener, said.main_pid)
        if said.reloading or said.stopping:
            service.announced = "stopping" if said.stopping else "reloading"
        if said.stopping:
            self._post(service, StopAnnounced(self._world.clock()))
        if said.ready:
            service.announced = None
            self._post(service, Ready(self._world.clock()))
        if said.extend_usec is not None:
            self._extend(service, said.extend_usec * _USEC_NS)
        if said.watchdog_usec is not None:
            self.watchdogs.change(service, said.watchdog_usec * _USEC_NS)
        if said.watchdog:
            self.watchdogs.heard(service)
        if said.is_unwell:
            self.watchdogs.triggered(service)

    def _name_main(self, listener: _Listener, pid: int) -> None:
        """Take note of which process is to count as the main one, if it is of this very run."""
        service = listener.service
        if pid == service.main:
            service.named_main = None
        elif self._world.children.run_of(pid) == listener.run_id:
            service.named_main = pid
        else:
            self._world.log(
                "notify.no_main", service=service.spec.name, pid=pid, reason="not a process of this service"
            )

    def _extend(self, service: Service, wait_ns: int) -> None:
        """Give a start or a stop more time; never less than it has."""
        timer = _EXTENDED.get(service.run.state)
        deadline_ns = None if timer is None else self._world.timers.at_ns((service.spec.name, timer))
        if timer is not None and deadline_ns is not None:
            until_ns = max(deadline_ns, self._world.clock() + wait_ns)
            self._world.timers.arm((service.spec.name, timer), until_ns)

    def _objection(self, listener: _Listener, datagram: Datagram) -> str | None:
        """Return why a message does not count, None where it does."""
        if datagram.cut:
            return f"longer than {datagrams.LONGEST} bytes"
        service = listener.service
        if service.spec.notify_access is NotifyAccess.MAIN:
            return None if datagram.pid == service.main else 'not the main process (notify_access = "main")'
        run_id = None if datagram.pid <= 0 else self._world.children.run_of(datagram.pid)
        # Asked last: if the sender has not been reaped by now, its pid was its own all the while.
        if _has_gone(datagram):
            return "its sender ended before it was read; wait for the answer to a barrier"
        return None if run_id == listener.run_id else "not a process of this service"

    def _ignore(self, listener: _Listener, datagram: Datagram, reason: str) -> None:
        listener.ignored += 1
        if listener.ignored & (listener.ignored - 1):
            return  # powers of two only: a storm of messages must not become a storm of lines
        self._world.log(
            "notify.ignored",
            service=listener.service.spec.name,
            pid=datagram.pid,
            uid=datagram.uid,
            reason=reason,
            count=listener.ignored,
        )


def _has_gone(datagram: Datagram) -> bool:
    if datagram.pid <= 0:
        return False
    try:
        if datagram.pidfd is not None:
            return not pidfd.send(datagram.pidfd, 0)
        fresh = pidfd.open(datagram.pid)
    except KernelError:
        return False  # another user's, and there
    if fresh is None:
        return True
    os.close(fresh)
    return False
