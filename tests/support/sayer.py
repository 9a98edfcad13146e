r"""A service that says each of its words over NOTIFY_SOCKET, then waits for the daemon and for a signal.

    python3 -I -S sayer.py [--double-fork | --fork] WORD...

Words are written as Python writes bytes: `\n` is a line's end. With `--fork` a child speaks, with
`--double-fork` an orphan.
"""

import os
import signal
import socket
import struct
import sys


def say(words: list[str]) -> None:
    """Send each word, then wait until all have been acted on."""
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        for word in words:
            sock.sendto(word.encode().decode("unicode_escape").encode("latin-1"), address)
        ours, theirs = os.pipe()
        send_fds(sock, b"BARRIER=1", [theirs], address)
        os.close(theirs)
        os.read(ours, 1)  # the end of file, once the daemon has closed its copy
        os.close(ours)


def send_fds(sock: socket.socket, message: bytes, fds: list[int], address: str) -> None:
    """Send descriptors along; the socket module's function of that name forgets the address before 3.12."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))
    sock.sendmsg([message], [rights], 0, address)


def main(words: list[str]) -> None:
    """Speak as asked, then wait."""
    forks = {"--fork": 1, "--double-fork": 2}.get(words[0], 0)
    if forks == 0:
        say(words)
    elif os.fork() == 0:
        if forks == 2:
            os.setsid()
            if os.fork():
                os._exit(0)
        say(words[1:])
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
