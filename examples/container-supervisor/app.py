"""What the container is for: a server that starts processes and does not look after them. Usage: app.py PORT.

/work starts a process that leaves its parent, as daemons do: an orphan that only PID 1 can reap.
/quit/N ends the application with exit status N.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Page(BaseHTTPRequestHandler):
    """Does what the path says."""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/work":
            self._say(str(start_an_orphan()))
        elif self.path.startswith("/quit/"):
            self._say("bye")
            sys.stdout.flush()
            os._exit(int(self.path.removeprefix("/quit/")))
        else:
            self._say(f"hello from pid {os.getpid()}, child of {os.getppid()}")

    def _say(self, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def start_an_orphan() -> int:
    """Start a process whose parent ends at once, and return its pid."""
    shell = ["sh", "-c", "sleep 0.1 </dev/null >/dev/null 2>&1 & echo $!"]
    return int(subprocess.run(shell, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Serve until SIGTERM, which is no failure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer((os.environ.get("HOST", "127.0.0.1"), int(sys.argv[1])), Page).serve_forever()


if __name__ == "__main__":
    main()
