"""What a service has written, read back from a log file and its old ones."""

import gzip
import os
import subprocess
from pathlib import Path
from typing import Final

from tests.support.processes import owned

_CHUNK: Final = 1 << 20


def parts(log: Path) -> list[Path]:
    """Return the files of a log, the oldest first; of two forms of one the compressed one."""
    found: dict[str, Path] = {}
    for path in sorted(log.parent.glob(f"{log.name}.*")):
        if not path.name.endswith(".part"):
            found[path.name.removesuffix(".gz")] = path
    return [*found.values(), log]


def content(log: Path) -> bytes:
    """Return all that is in a log, in order; each of its files ends with a line."""
    pieces = [_content(path) for path in parts(log) if path.exists()]
    assert all(piece.endswith(b"\n") for piece in pieces if piece), f"a file of {log} ends within a line"
    return b"".join(pieces)


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def assert_sequence(log: Path, last: int) -> None:
    """Assert that a log holds the lines 1 to `last` as seq(1) writes them, and nothing else."""
    with owned(["seq", str(last)], stdout=subprocess.PIPE) as seq:
        assert seq.stdout is not None
        for path in parts(log):
            data = _content(path)
            assert not data or data.endswith(b"\n"), f"{path} ends within a line"
            for start in range(0, len(data), _CHUNK):
                found = data[start : start + _CHUNK]
                assert found == seq.stdout.read(len(found)), f"{path} differs after {start} bytes"
        assert os.read(seq.stdout.fileno(), 1) == b"", f"lines at the end of {log} are missing"
