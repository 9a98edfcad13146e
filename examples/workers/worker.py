"""Take jobs from DIRECTORY/queue, one at a time, and leave the results in DIRECTORY/done.

Usage: worker.py DIRECTORY NUMBER. Any number of workers may share the directory: taking a job is one rename,
which only one of them can do.
"""

import signal
import sys
import time
from pathlib import Path

IDLE_S = 0.2


class Worker:
    """One worker; asked to stop, it finishes its job first."""

    def __init__(self, folder: Path, number: str) -> None:
        self._queue, self._done = folder / "queue", folder / "done"
        self._name = f"worker {number}"
        self.is_wanted = True

    def run(self) -> None:
        """Work until nobody wants it any more."""
        while self.is_wanted:
            if not self._do_one():
                time.sleep(IDLE_S)

    def stop(self, *_: object) -> None:
        """Take no further job."""
        self.is_wanted = False

    def _do_one(self) -> bool:
        for job in sorted(self._queue.iterdir()):
            taken = self._done / f".{job.name}.{self._name}"
            try:
                job.rename(taken)
            except FileNotFoundError:
                continue  # another worker was faster
            text = taken.read_text().strip()
            taken.write_text(f"{text} done by {self._name}\n")
            taken.rename(self._done / job.name)
            return True
        return False


def main() -> None:
    """Work until SIGTERM."""
    worker = Worker(Path(sys.argv[1]), sys.argv[2])
    signal.signal(signal.SIGTERM, worker.stop)
    worker.run()


if __name__ == "__main__":
    main()
