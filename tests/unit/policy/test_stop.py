from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import Scope, Stop
from reaperd.policy.stop import ask, clear, force, main_gone
from reaperd.policy.words import ArmTimer, CancelTimer, Kill, RunStopCommand, Signal, Timer

SIGNALS, TIMES = st.integers(1, 64), st.integers(0, 10**18)
COMMAND = ("bye",)


@given(SIGNALS, TIMES, TIMES, st.sampled_from(Scope))
def test_the_first_rung_asks_and_gives_time(signal: int, timeout_ns: int, now_ns: int, scope: Scope) -> None:
    """The configured signal goes to those that the scope names, and the grace begins now."""
    stop = Stop(signal, timeout_ns, scope=scope)
    assert ask(stop, now_ns) == (Signal(signal, scope), ArmTimer(Timer.GRACE, now_ns + timeout_ns))


@given(TIMES, TIMES)
def test_a_command_has_the_same_time(timeout_ns: int, now_ns: int) -> None:
    """It is asked in place of the signal."""
    stop = Stop(timeout_ns=timeout_ns, command=COMMAND)
    assert ask(stop, now_ns) == (RunStopCommand(), ArmTimer(Timer.GRACE, now_ns + timeout_ns))


@given(SIGNALS, TIMES, st.sampled_from(Scope), st.sampled_from([(), COMMAND]))
def test_what_a_dead_main_process_left_gets_the_signal(
    signal: int, now_ns: int, scope: Scope, command: tuple[str, ...]
) -> None:
    """All of it, whatever the scope, and no command is run for it."""
    stop = Stop(signal, 5, command, scope)
    assert clear(stop, now_ns) == (Signal(signal), ArmTimer(Timer.GRACE, now_ns + 5))


def test_who_has_had_the_signal_does_not_get_it_again() -> None:
    """Only where the first rung did not ask the whole tree does the end of the main process ask the rest."""
    assert main_gone(Stop()) == ()
    assert main_gone(Stop(2, scope=Scope.GROUP)) == main_gone(Stop(2, scope=Scope.MAIN)) == (Signal(2),)


def test_the_last_rung_kills_and_has_no_deadline() -> None:
    """Nothing comes after SIGKILL, so no timer is left behind."""
    assert force() == (CancelTimer(Timer.GRACE), Kill())
