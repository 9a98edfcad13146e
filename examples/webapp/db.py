"""A database of one table: `get KEY`, `set KEY VALUE` and `add KEY NUMBER`, one line each, over TCP.

Usage: db.py FILE, with the address to listen on in DATABASE.
"""

import json
import os
import signal
import socketserver
import sys
from pathlib import Path
from threading import Lock, Thread


class Table:
    """Keys and values, in memory and in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def answer(self, line: str) -> str:
        """Do what a line asks for and return the value."""
        verb, key, *rest = line.split(" ", 2)
        with self._lock:
            match verb, rest:
                case "set", [value]:
                    self._values[key] = value
                case "add", [number]:
                    self._values[key] = str(int(self._values.get(key, "0")) + int(number))
                case "get", []:
                    return self._values.get(key, "")
                case _:
                    return "error"
            self._save()
            return self._values[key]

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._values))
        new.replace(self._path)  # so that a crash leaves the old file or the new one


class Server(socketserver.ThreadingTCPServer):
    """Serves each connection in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM."""
    table = Table(Path(sys.argv[1]))
    host, _, port = os.environ["DATABASE"].rpartition(":")

    class Connection(socketserver.StreamRequestHandler):
        """Answers line by line."""

        def handle(self) -> None:
            """Serve one client until it leaves."""
            for line in self.rfile:
                self.wfile.write(f"{table.answer(line.decode().strip())}\n".encode())

    with Server((host, int(port)), Connection) as server:
        signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
        server.serve_forever()


if __name__ == "__main__":
    main()
