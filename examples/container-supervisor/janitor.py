"""A helper beside the application: keeps a file up to date while it runs. Usage: janitor.py DIRECTORY."""

import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Note every minute how many files there are, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(sys.argv[1])
    while True:
        count = sum(1 for _ in folder.iterdir())
        (folder / "janitor.txt").write_text(f"{count} files\n")
        time.sleep(60)


if __name__ == "__main__":
    main()
