"""The stop ladder: what a run's processes are told, rung by rung, until none is left. Pure.

    -1   nothing: the service said that it stops by itself, and is given the time for it
    0    the stop command in place of the stop signal, or the signal to those that the scope names
    1    the signal: after a command to those that the scope names; to all that a main process left
    2    SIGKILL for the whole tree, whatever the scope; `perform` goes on with it until nothing is left

Each rung but the last has the service's stop timeout, and a wish to hurry ends it. A command that fails ends
its rung at once, since nothing is to be hoped from it any more. One that ends well has the rest of the time
to take effect: many only tell the service to end, and return. So a service with a command is given up to
twice its timeout. Once the main process has ended, the stop signal goes to all that it left behind.
"""

from typing import Final

from reaperd.config.spec import Scope, Stop
from reaperd.policy.words import Action, ArmTimer, CancelTimer, Kill, RunStopCommand, Signal, Timer

OWN_RUNG: Final = -1
FIRST_RUNG: Final = 0
SIGNAL_RUNG: Final = 1
LAST_RUNG: Final = 2


def wait(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what is done while a service stops by itself."""
    return (_grace(stop, at_ns),)


def ask(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what the first rung does while the main process lives."""
    request = RunStopCommand() if stop.command else Signal(stop.signal, stop.scope)
    return (request, _grace(stop, at_ns))


def insist(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what follows a command that failed or was too slow while the main process lives."""
    return (Signal(stop.signal, stop.scope), _grace(stop, at_ns))


def longest_ns(stop: Stop) -> int:
    """Return how long a stop may take before the last rung."""
    return 2 * stop.timeout_ns if stop.command else stop.timeout_ns


def clear(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what is done once the main process has ended by itself."""
    return (Signal(stop.signal), _grace(stop, at_ns))


def main_gone(stop: Stop) -> tuple[Action, ...]:
    """Return what follows within the first rung when the main process ends: the others may not know yet."""
    return (Signal(stop.signal),) if stop.scope is not Scope.TREE else ()


def force() -> tuple[Action, ...]:
    """Return what the last rung does."""
    return (CancelTimer(Timer.GRACE), Kill())


def _grace(stop: Stop, at_ns: int) -> ArmTimer:
    return ArmTimer(Timer.GRACE, at_ns + stop.timeout_ns)
