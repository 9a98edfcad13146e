r"""A service that answers on the sockets that it was given: sd_listen_fds(3).

    python3 -I -S acceptor.py

Whoever connects to one is told, as a line of JSON, which it is and what the service was told of them all, and
by which pid. Who sends "die" first ends the service with 1, who sends "quiet" gets no answer.
"""

import json
import os
import select
import socket

FIRST = 3


def main() -> None:
    """Answer for ever."""
    names = os.environ["LISTEN_FDNAMES"].split(":")
    count = int(os.environ["LISTEN_FDS"])
    told = {
        "for_us": os.environ["LISTEN_PID"] == str(os.getpid()),
        "count": count,
        "names": names,
        "pid": os.getpid(),
    }
    ours = {FIRST + index: socket.socket(fileno=FIRST + index) for index in range(count)}
    poll = select.poll()
    for fd in ours:
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _events in poll.poll():
            answer = json.dumps({**told, "name": names[fd - FIRST]}).encode() + b"\n"
            if ours[fd].type == socket.SOCK_DGRAM:
                _data, sender = ours[fd].recvfrom(100)
                ours[fd].sendto(answer, sender)
                continue
            connection, _address = ours[fd].accept()
            with connection:
                if connection.recv(100) == b"die\n":
                    os._exit(1)
                connection.sendall(answer)


if __name__ == "__main__":
    main()
