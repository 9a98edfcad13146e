"""Look for a line that matches, in what is read anyway."""

import re
from typing import Final

LONGEST_LINE: Final = 8192  # bytes of a line that are looked at


class Matcher:
    """Find the first line that matches anywhere."""

    __slots__ = ("_line", "_pattern")

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._line = b""  # begun and not ended yet

    def feed(self, data: bytes) -> bool:
        """Tell whether a line that ends in `data` matches."""
        *lines, rest = data.split(b"\n")
        for part in lines:
            line = (self._line + part)[:LONGEST_LINE]
            self._line = b""
            if self._pattern.search(line.decode(errors="replace").rstrip("\r")):
                return True
        self._line = (self._line + rest)[:LONGEST_LINE]
        return False
