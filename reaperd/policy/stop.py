"""The stop ladder: what a run's tree is told, rung by rung, until it is empty. Pure."""

from reaperd.config.spec import Stop
from reaperd.policy.words import Action, ArmTimer, CancelTimer, Kill, Signal, Timer

LAST_RUNG = 1  # SIGKILL; `perform` goes on with it until nothing is left


def climb(stop: Stop, rung: int, at_ns: int) -> tuple[Action, ...]:
    """Return what rung `rung` does: the stop signal with its grace, then SIGKILL."""
    if rung < LAST_RUNG:
        return (Signal(stop.signal), ArmTimer(Timer.GRACE, at_ns + stop.timeout_ns))
    return (CancelTimer(Timer.GRACE), Kill())
