"""What holds for every test."""

import signal

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about us. No database: the
# checkout may belong to another user.
settings.register_profile("ours", deadline=None, database=None, print_blob=True)
settings.load_profile("ours")

# A run in the background ignores these (nohup(1), a shell's "&"), and an exec hands that on: signal(7).
# Programs under test are to be hung up and interrupted all the same.
for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL if ignored != signal.SIGINT else signal.default_int_handler)
