# ruff: noqa: INP001 - beside programs that stand alone
"""Who is measured by bench/supervisors.py: how each is configured, asked, and told to end.

All run the same program, service.c, N times, start it again at once whenever it ends, and write their log to
/dev/null at their usual level. What is not said here is left as each has it by itself.
"""

import http.client
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path

import peers


class Contestant:
    """One supervisor, with its own folder, that is to run so many services.

    Attributes:
        name: how the tables call it.
        signal: what ends it and all its services.
        said: its configuration, in a word for the report.
    """

    name = ""
    said = ""
    signal = "TERM"

    def __init__(self, folder: Path, count: int, program: Path) -> None:
        self.folder = folder
        self.count = count
        self.program = program
        self.fifo = folder / "fifo"
        self.socket = folder / "socket"

    def words(self, number: int | str) -> list[str]:
        """Return the command of a service."""
        return [str(self.program), str(number), str(self.fifo)]

    def prepare(self) -> None:
        """Write what it reads."""

    def command(self) -> list[str]:
        """Return its command."""
        raise NotImplementedError

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        raise NotImplementedError

    def ask(self, times: int) -> list[float]:
        """Return how long each of so many answers about all services takes, in seconds, without a command."""
        return [self._ask_once() for _ in range(times)]

    def _ask_once(self) -> float:
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.socket))
            text = b"".join(iter(lambda: server.recv(1 << 16), b""))
        took = time.perf_counter() - begun
        assert text.count(b"running") == self.count, text
        return took


class FloorInC(Contestant):
    """floor.c."""

    name = "C floor"

    def command(self) -> list[str]:
        """Return its command."""
        return [
            str(self.program.with_name("floor")),
            str(self.count),
            *map(str, (self.program, self.fifo, self.socket)),
        ]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        return [str(self.program.with_name("floor")), "status", str(self.socket)]


class SpawnFloor(Contestant):
    """floor.py by posix_spawn."""

    name = "spawn floor"
    how = "spawn"

    def _python(self) -> list[str]:
        return [os.path.realpath(sys.executable), "-I", "-S", str(self.program.with_name("floor.pyc"))]

    def command(self) -> list[str]:
        """Return its command."""
        return [*self._python(), self.how, str(self.count), *map(str, (self.program, self.fifo, self.socket))]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        return [*self._python(), "status", str(self.socket)]


class ForkFloor(SpawnFloor):
    """floor.py by os.fork."""

    name = "fork floor"
    how = "fork"


class Reaperd(Contestant):
    """The daemon of this checkout, by the command that a user types."""

    name = "reaperd"
    said = 'restart = "always", backoff = { initial = "1ms", reset_after = "1s" }'

    def prepare(self) -> None:
        """Write its configuration."""
        parts = [f'[daemon]\nsocket = "{self.socket}"\nstate_dir = "{self.folder}/state"\n']
        keys = self.said.replace(", ", "\n", 1)
        parts += [
            f"[service.s{number}]\ncommand = {json.dumps(self.words(number))}\n{keys}\n"
            for number in range(self.count)
        ]
        (self.folder / "reaperd.toml").write_text("\n".join(parts))

    def _script(self) -> str:
        return str(Path(sys.executable).with_name("reaperd"))

    def command(self) -> list[str]:
        """Return its command."""
        return [self._script(), "run", "-c", str(self.folder / "reaperd.toml")]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        return [self._script(), "status", "-s", str(self.socket)]

    def _ask_once(self) -> float:
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.socket))
            server.sendall(b"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: server.recv(1 << 16), b""))
        took = time.perf_counter() - begun
        assert text.count(b'"running"') == self.count, text[:1000]
        return took


class Supervisord(Contestant):
    """supervisord."""

    name = "supervisord"
    said = "autorestart=true, outputs NONE, minfds=16000"

    def prepare(self) -> None:
        """Write its configuration."""
        head = (
            "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\nminfds=16000\n"
            f"pidfile={self.folder}/pid\nchildlogdir={self.folder}\n[unix_http_server]\nfile={self.socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n"
        )
        parts = [
            f"[program:s{number}]\ncommand={shlex.join(self.words(number))}\nautorestart=true\n"
            "stdout_logfile=NONE\nstderr_logfile=NONE\n"
            for number in range(self.count)
        ]
        (self.folder / "supervisord.conf").write_text(head + "".join(parts))

    def command(self) -> list[str]:
        """Return its command."""
        return [str(peers.PROGRAMS["supervisord"]), "-c", str(self.folder / "supervisord.conf")]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        control = peers.PROGRAMS["supervisord"].with_name("supervisorctl")
        return [str(control), "-c", str(self.folder / "supervisord.conf"), "status"]

    def _ask_once(self) -> float:
        request = xmlrpc.client.dumps((), "supervisor.getAllProcessInfo").encode()
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.socket))
            head = f"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(request)}"
            server.sendall(f"{head}\r\nContent-Type: text/xml\r\n\r\n".encode() + request)
            answer = http.client.HTTPResponse(server)
            answer.begin()
            text = answer.read()
        took = time.perf_counter() - begun
        assert text.count(b"RUNNING") == self.count, text[:1000]
        return took


# A DEALER and a request of JSON, as circusctl sends it; by the interpreter that has zmq.
_ASK_CIRCUS = """
import json, sys, time, zmq
endpoint, times, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = zmq.Context().socket(zmq.DEALER)
client.connect(endpoint)
for number in range(times + 1):
    begun = time.perf_counter()
    client.send_json({"command": "status", "id": str(number), "properties": {}})
    answer = client.recv()
    if number:  # the first one includes the connection, which zmq makes in a thread of its own
        print(time.perf_counter() - begun)
    assert answer.count(b'"active"') == count, answer[:1000]
"""


class Circus(Contestant):
    """circusd."""

    name = "circus"
    said = "as its documentation starts, without statistics"

    def prepare(self) -> None:
        """Write its configuration."""
        endpoints = f"endpoint = ipc://{self.socket}\npubsub_endpoint = ipc://{self.folder}/events\n"
        parts = [
            f"[watcher:s{number}]\ncmd = {shlex.join(self.words(number))}\ncopy_env = true\n"
            for number in range(self.count)
        ]
        text = f"[circus]\n{endpoints}statsd = false\n" + "".join(parts)
        (self.folder / "circus.ini").write_text(text)

    def command(self) -> list[str]:
        """Return its command."""
        return [str(peers.PROGRAMS["circus"]), str(self.folder / "circus.ini")]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        return [
            str(peers.PROGRAMS["circus"].with_name("circusctl")),
            "--endpoint",
            f"ipc://{self.socket}",
            "status",
        ]

    def ask(self, times: int) -> list[float]:
        """Return how long each of so many answers takes, in seconds."""
        python = peers.PROGRAMS["circus"].with_name("python")
        words = [str(python), "-c", _ASK_CIRCUS, f"ipc://{self.socket}", str(times), str(self.count)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return [float(line) for line in done.stdout.split()]


class ByFolders(Contestant):
    """A supervisor that has a folder for each service; it has no socket to ask."""

    def services(self) -> list[str]:
        """Return the folders of all services."""
        return [str(self.folder / "scan" / f"s{number}") for number in range(self.count)]

    def prepare(self) -> None:
        """Write the scripts."""
        for number, place in enumerate(self.services()):
            run = Path(place) / "run"
            run.parent.mkdir(parents=True)
            run.write_text(f"#!/bin/sh\nexec {shlex.join(self.words(number))}\n")
            run.chmod(0o755)

    def ask(self, times: int) -> list[float]:
        """Return nothing: there is nobody to ask."""
        del times
        return []


class S6(ByFolders):
    """s6-svscan."""

    name = "s6"
    said = "run scripts of /bin/sh that exec; s6-svscan -c 2000"

    def command(self) -> list[str]:
        """Return its command."""
        return [str(peers.PROGRAMS["s6"]), "-c", "2000", str(self.folder / "scan")]

    def status(self) -> list[str]:
        """Return the command that shows all services: one for each."""
        return ["/bin/sh", "-c", 'for each; do s6-svstat "$each"; done', "status", *self.services()]


class Runit(ByFolders):
    """runsvdir."""

    name = "runit"
    said = "run scripts of /bin/sh that exec"
    signal = "HUP"  # SIGTERM would leave the services running

    def command(self) -> list[str]:
        """Return its command."""
        return [str(peers.PROGRAMS["runit"]), str(self.folder / "scan")]

    def status(self) -> list[str]:
        """Return the command that shows all services."""
        return [str(peers.PROGRAMS["runit"].with_name("sv")), "status", *self.services()]


FLOORS: tuple[type[Contestant], ...] = (FloorInC, SpawnFloor, ForkFloor)
PEERS: tuple[type[Contestant], ...] = (Runit, S6, Supervisord, Circus)
ALL: tuple[type[Contestant], ...] = (*FLOORS, Reaperd, *PEERS)
NAMES = [kind.name for kind in ALL]
