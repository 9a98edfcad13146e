"""A web application that counts its visits in the database. Usage: web.py PORT."""

import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from database import ask


class Page(BaseHTTPRequestHandler):
    """Two pages: a greeting, and whether the application works."""

    def do_GET(self) -> None:
        """Answer a request."""
        try:
            if self.path == "/healthz":
                self._say(200 if ask("get version") else 503, "well")
            else:
                self._say(200, f"{ask('get greeting')}, visitor {ask('add visits 1')}")
        except OSError as error:
            self._say(503, f"no database: {error}")

    def _say(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def notify(state: str) -> None:
    """Tell whoever started us about ourselves: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # a leading @ stands for the zero byte of an abstract address: unix(7)
            sender.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def main() -> None:
    """Serve until SIGTERM."""
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page)
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
    notify(f"READY=1\nSTATUS=serving on port {server.server_port}")
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
