"""The client's side of db.py."""

import os
import socket


def ask(line: str) -> str:
    """Send one line to the database and return its answer.

    Raises:
        OSError: the database is not there.
    """
    host, _, port = os.environ["DATABASE"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(f"{line}\n".encode())
        with connection.makefile() as answers:
            return answers.readline().strip()
