"""The stop ladder: what a run's processes are told, rung by rung, until none is left. Pure.

    0    the stop command in place of the stop signal, or the signal to those that the scope names
    1    SIGKILL for the whole tree, whatever the scope; `perform` goes on with it until nothing is left

Once the main process has ended, the stop signal goes to all that it left behind.
"""

from typing import Final

from reaperd.config.spec import Scope, Stop
from reaperd.policy.words import Action, ArmTimer, CancelTimer, Kill, RunStopCommand, Signal, Timer

LAST_RUNG: Final = 1


def ask(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what the first rung does while the main process lives."""
    request = RunStopCommand() if stop.command else Signal(stop.signal, stop.scope)
    return (request, _grace(stop, at_ns))


def clear(stop: Stop, at_ns: int) -> tuple[Action, ...]:
    """Return what the first rung does once the main process has ended by itself."""
    return (Signal(stop.signal), _grace(stop, at_ns))


def main_gone(stop: Stop) -> tuple[Action, ...]:
    """Return what follows within the first rung when the main process ends: the others may not know yet."""
    return (Signal(stop.signal),) if stop.command or stop.scope is not Scope.TREE else ()


def force() -> tuple[Action, ...]:
    """Return what the last rung does."""
    return (CancelTimer(Timer.GRACE), Kill())


def _grace(stop: Stop, at_ns: int) -> ArmTimer:
    return ArmTimer(Timer.GRACE, at_ns + stop.timeout_ns)
