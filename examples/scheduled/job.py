"""A job: works for a while and writes one line to the journal. Usage: job.py NAME [SECONDS]."""

import os
import sys
import time
from datetime import datetime


def main() -> None:
    """Do the job."""
    name, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    time.sleep(seconds)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    # One write to a file that is open for appending: lines of jobs that run at once stay whole.
    fd = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, f"{now} {name}\n".encode())
    os.close(fd)


if __name__ == "__main__":
    main()
