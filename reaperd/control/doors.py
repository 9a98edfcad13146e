"""Where clients come in: the socket's file, and the TCP address if there is one; opened, followed, mended.

Somebody may remove the file, or put another in its place, while the daemon runs: then nobody finds the way
to it any more, and it notices nothing. So the file is watched (inotify(7): the link count of a file that is
removed changes; as long as nothing happens nobody is woken), what is seen is told, and each reload mends it.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reaperd.config.daemon_spec import Control, DaemonSpec
from reaperd.control.access import Access
from reaperd.control.listen import listen, listen_tcp, open_to, tidy
from reaperd.control.server import Server
from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel import inotify
from reaperd.loop.poller import Phase, Poller

_REMOVED: Final = "its file is gone"
_NOT_OURS: Final = "restart what made it: reaperd.socket"
_REPLACED: Final = "something else is in the place of its file"


class Doors:
    """Open the daemon's sockets and keep them as the configuration says. Implements `loop.poller.Source`.

    Attributes:
        unix: the listening Unix socket; the server owns it once it serves.
        tcp: the TCP one, None without.
        access: who may do what.
        problem: what is wrong with the socket's file, None where nothing is.

    Args:
        daemon: what the configuration says of it.
        poller: watches the socket's file.
        tell: what takes the words about it: the log.
        inherited: a listening Unix socket in place of our own; its file is another's to make and take away.

    Raises:
        ReaperdError: a socket cannot be had, or the tokens cannot be used.
    """

    name = "control socket"
    phase = Phase.CONTROL

    def __init__(
        self,
        daemon: DaemonSpec,
        poller: Poller,
        tell: Callable[..., None],
        inherited: socket.socket | None = None,
    ) -> None:
        self._path = daemon.socket
        self._control = daemon.control
        self._poller = poller
        self._tell = tell
        self._is_ours = inherited is None
        self._server: Server | None = None
        self._notices: int | None = None
        self.problem: str | None = None
        self.access = _access(daemon.control)
        self.tcp = None if daemon.control.tcp is None else listen_tcp(daemon.control.tcp)
        try:
            self.unix = inherited or listen(self._path, daemon.control.socket_mode, daemon.control.group)
        except ReaperdError:
            if self.tcp is not None:
                self.tcp.close()
            raise
        self._identity = _identity(self._path)

    def serve(self, server: Server) -> None:
        """Let `server` take the clients; it has the Unix socket already."""
        self._server = server
        if self.tcp is not None:
            server.listen_on(self.tcp)
        self._watch()

    def problems(self) -> list[str]:
        """Return what is wrong, in sentences, each with what helps."""
        if self.problem is None:
            return []
        remedy = "a reload mends it (kill -HUP, too)" if self._is_ours else _NOT_OURS
        return [f"nobody finds the way to {self._path}: {self.problem}; {remedy}"]

    # --- another configuration --------------------------------------------------------------------------

    def prepare(self, control: Control) -> Callable[[], None]:
        """Do what may fail of following `control`; return what does the rest.

        Raises:
            ReaperdError: its tokens cannot be used, or its address cannot be had; nothing has changed then.
        """
        access = _access(control)
        tcp = self.tcp if control.tcp == self._control.tcp else self._other_tcp(control)

        def follow() -> None:
            server = self._server
            assert server is not None, "reloads come after the start"
            server.access = self.access = access
            if tcp is not self.tcp:
                if self.tcp is not None:
                    server.close_listener(self.tcp)
                if tcp is not None:
                    server.listen_on(tcp)
                self.tcp = tcp
            self._control = control
            self._look()
            if self.problem is None and self._is_ours:
                self._open_to_others()

        return follow

    def _other_tcp(self, control: Control) -> socket.socket | None:
        if control.tcp is None:
            return None
        try:
            return listen_tcp(control.tcp)
        except ReaperdError:
            old, server = self._control.tcp, self._server
            if self.tcp is None or server is None or old is None or old[1] != control.tcp[1]:
                raise
            server.close_listener(self.tcp)  # the same port: it may be ours that is in the way
            try:
                return listen_tcp(control.tcp)
            except ReaperdError:
                self.tcp = listen_tcp(old)
                server.listen_on(self.tcp)
                raise

    def _open_to_others(self) -> None:
        try:
            open_to(self._path, self._control.socket_mode, self._control.group)
        except (OSError, ReaperdError) as error:
            self._tell("control.socket_lost", path=str(self._path), problem=str(error))

    # --- the socket's file ------------------------------------------------------------------------------

    def mend(self) -> None:
        """Look after the socket's file, and make it anew where it is gone or somebody else's stale one."""
        self._look()
        if self.problem is None or self._server is None:
            return
        if not self._is_ours:
            problem = f"{self.problem}; {_NOT_OURS}"
            self._tell("control.socket_lost", path=str(self._path), problem=problem)
            return
        try:
            listener = listen(self._path, self._control.socket_mode, self._control.group)
        except ReaperdError as error:
            self._tell("control.socket_lost", path=str(self._path), problem=error.message)
            return
        self._server.close_listener(self.unix)
        self.unix = listener
        self._server.listen_on(listener)
        self._identity = _identity(self._path)
        self.problem = None
        self._watch()
        self._tell("control.socket_mended", path=str(self._path))

    def ready(self, fd: int, events: int) -> None:
        """Look whether the file is still ours: something happened to it."""
        del events
        inotify.drain(fd)
        self._look()

    def failed(self, fd: int) -> None:
        """Watch the file no more; a reload looks all the same."""
        del fd

    def close(self) -> None:
        """Watch no more, and take the socket's file away; the server has closed the sockets."""
        if self._notices is not None:
            self._poller.drop(self._notices)
            os.close(self._notices)
            self._notices = None
        if self._is_ours:  # another's stays: to look whether somebody listens would start us anew
            tidy(self._path)

    def _look(self) -> None:
        found = _identity(self._path)
        problem = None if found == self._identity else _REMOVED if found is None else _REPLACED
        if problem is not None and problem != self.problem:
            self._tell("control.socket_lost", path=str(self._path), problem=problem)
        self.problem = problem

    def _watch(self) -> None:
        try:
            if self._notices is None:
                self._notices = inotify.open_notices()
                self._poller.watch(self._notices, self)
        except KernelError:
            return  # the user has too many of these: a reload looks all the same
        inotify.notice_loss(self._notices, str(self._path))


def _access(control: Control) -> Access:
    if control.token_file is None:
        return Access(control)
    # Imported here: only a daemon that listens on TCP needs it.
    from reaperd.control.tokens import read_tokens  # noqa: PLC0415

    return Access(control, read_tokens(Path(control.token_file)))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
