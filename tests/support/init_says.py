"""A CMD for the init's tests: says "ready PID", then the number of each signal it gets, one a line.

Usage: init_says.py LAST STATUS: leaves with STATUS after signal LAST. Blocks every signal from its first
statement, so that none acts by default, and fetches them with their count.
"""

import _signal  # type: ignore[import-not-found]  # the C half of signal: this must start fast

_signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())

import posix  # noqa: E402 - signals are blocked first
import sys  # noqa: E402 - the same

LAST, STATUS = int(sys.argv[1]), int(sys.argv[2])
posix.write(1, b"ready %d\n" % posix.getpid())
while True:
    number = _signal.sigwaitinfo(_signal.valid_signals()).si_signo
    posix.write(1, b"%d\n" % number)
    if number == LAST:
        # What came before it is fetched after it where its number is higher: signal(7).
        while (more := _signal.sigtimedwait(_signal.valid_signals(), 0)) is not None:
            posix.write(1, b"%d\n" % more.si_signo)
        posix._exit(STATUS)
