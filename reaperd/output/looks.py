r"""How lines look among others on the daemon's standard output: with a name before them, or as JSON.

    web | listening on 8000              prefix, of the standard output
    web ! cannot open the database       prefix, of the standard error
    {"time": "...", "service": "web", "stream": "stdout", "message": "listening on 8000"}

and what a hook of a service says, or its stop or reload command:

    web (on_exit) | cleaned              prefix
    {..., "helper": "on_exit", ...}      JSON, before the message
    [on_exit] cleaned                    in its file, the journal and syslog; behind a priority such as <4>

What is no UTF-8 stays as it is behind a prefix, and is written as `\xff` in JSON.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Final

from reaperd.moments import rfc3339
from reaperd.output.lines import Buffer, pieces
from reaperd.output.streams import Shape

_MARKS: Final = {"stdout": b" | ", "stderr": b" ! "}
_RARE: Final = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n")  # control characters
# Bytes that become JSON at once. What that takes then stays below what malloc(3) hands back to the kernel
# each time, and in the processor's caches: 64 KiB at once take nearly twice as long.
_PIECE: Final = 1 << 15

_BEGINS: Final = re.compile(rb"^(<[0-7]>|)", re.MULTILINE)


def marked(helper: str) -> Shape:
    """Return what puts the name of a helper before each line, but behind its priority: sd-daemon(3)."""
    mark = rb"\1[%b] " % helper.encode()

    def shape(lines: Buffer) -> Iterator[bytes]:
        yield _BEGINS.sub(mark, bytes(lines[:-1])) + b"\n"

    return shape


def prefixed(service: str, stream: str, helper: str | None = None) -> Shape:
    """Return what puts a service's name before each line."""
    prefix = service.encode() + (b"" if helper is None else b" (%b)" % helper.encode()) + _MARKS[stream]
    between = b"\n" + prefix

    def shape(lines: Buffer) -> Iterator[bytes]:
        yield b"".join((prefix, bytes(lines[:-1]).replace(b"\n", between), b"\n"))

    return shape


def json_lines(service: str | None, stream: str | None, helper: str | None = None) -> Shape:
    """Return what makes a JSON object of each line; its time is when it was read."""
    who = "" if helper is None else f', "helper": {json.dumps(helper)}'
    end = f', "service": {json.dumps(service)}, "stream": {json.dumps(stream)}{who}, "message": '

    def shape(lines: Buffer) -> Iterator[bytes]:
        head = f'{{"time": "{rfc3339(time.time_ns(), digits=6)}"{end}'
        for piece in pieces(lines, _PIECE):
            yield _objects(head, piece[:-1])

    return shape


def _objects(head: str, data: bytes) -> bytes:
    """Return lines as objects that begin with `head`; of the last one `data` has no end."""
    # All lines at once where none holds anything that is rare: four times as fast as one after the other.
    if data.isascii() and len(data.translate(None, _RARE)) == len(data):
        begin = f'{head}"'.encode()
        data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\t", b"\\t")
        return b"".join((begin, data.replace(b"\n", b'"}\n' + begin), b'"}\n'))
    texts = data.decode(errors="backslashreplace").split("\n")
    return "".join(f"{head}{json.dumps(text)}}}\n" for text in texts).encode()
