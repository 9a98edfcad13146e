"""Each cause on recorded facts: one change from a parent that simply never waits."""

import os

import pytest

from reaperd.kernel.proctask import Call
from reaperd.zombies.explain import explain
from reaperd.zombies.facts import ParentFacts, ThreadFacts, ZombieFacts

ZOMBIE = ZombieFacts(
    pid=812,
    ppid=7,
    exit_signal=17,
    tracer=0,
    live_threads=0,
    thread_tracer=0,
    forker=None,
    age_s=3600.0,
    siblings=0,
    inner_pid=812,
)
THREAD = ThreadFacts(tid=7, state="S", is_blocked=False, wchan="hrtimer_nanosleep")
PARENT = ParentFacts(
    pid=7,
    threads=(THREAD,),
    is_ignored=False,
    is_caught=False,
    is_pending=False,
    tracer=0,
    dumps_core=False,
    is_init=False,
    leader_ended=False,
    signalfd=False,
    frozen_by=None,
)


def _call(number: int, *arguments: int) -> Call:
    return Call(number, (*arguments, *(0,) * (6 - len(arguments))))


def _threads(**change: object) -> ParentFacts:
    return PARENT._replace(threads=(THREAD._replace(**change),))  # type: ignore[arg-type]  # fields, see above


def test_a_parent_that_does_nothing_never_waits() -> None:
    """The last rule: no other fits."""
    assert explain(ZOMBIE, PARENT).name == "parent-never-waits"


@pytest.mark.parametrize(
    ("name", "zombie", "parent"),
    [
        ("dead-leader", ZOMBIE._replace(live_threads=2), PARENT),
        ("held-by-tracer", ZOMBIE._replace(tracer=99), PARENT),
        ("held-by-tracer", ZOMBIE._replace(thread_tracer=99), PARENT),
        ("parent-outside", ZOMBIE._replace(ppid=0), None),
        ("in-transit", ZOMBIE, None),
        ("in-transit", ZOMBIE._replace(age_s=0.9), PARENT),
        ("in-transit", ZOMBIE._replace(age_s=4.9), PARENT._replace(is_init=True)),
        ("init-does-not-reap", ZOMBIE._replace(age_s=5.1), PARENT._replace(is_init=True)),
        ("parent-frozen", ZOMBIE, PARENT._replace(frozen_by="/sys/fs/cgroup/x/cgroup.events")),
        ("parent-frozen", ZOMBIE, _threads(state="D", wchan="__refrigerator")),
        ("parent-stopped", ZOMBIE, _threads(state="T")),
        ("parent-traced", ZOMBIE, _threads(state="t")._replace(tracer=99)),
        ("parent-dumps-core", ZOMBIE, PARENT._replace(dumps_core=True)),
        ("holds-up-namespace", ZOMBIE._replace(held_up=9), PARENT),
        ("parent-in-vfork", ZOMBIE, _threads(state="D", wchan="kernel_clone")),
        ("clone-child", ZOMBIE._replace(exit_signal=0), PARENT),
        ("clone-child", ZOMBIE._replace(exit_signal=10), PARENT),
        ("parent-leader-ended", ZOMBIE, PARENT._replace(leader_ended=True)),
        ("sigchld-blocked", ZOMBIE, _threads(is_blocked=True)),
        ("sigchld-signalfd", ZOMBIE, _threads(is_blocked=True)._replace(signalfd=True)),
        ("sigchld-ignored-late", ZOMBIE, PARENT._replace(is_ignored=True)),
        ("handler-missed", ZOMBIE, PARENT._replace(is_caught=True)),
        ("parent-busy", ZOMBIE, _threads(state="R")),
    ],
)
def test_each_cause_is_told_from_its_facts(
    name: str, zombie: ZombieFacts, parent: ParentFacts | None
) -> None:
    """And says in words what it saw and what would help."""
    cause = explain(zombie, parent)
    assert cause.name == name
    assert cause.sentence.endswith(".")
    assert cause.evidence
    assert cause.advice


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86-64's")
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("waits-for-another", _call(61, 813)),
        ("parent-never-waits", _call(61, 812)),
        ("parent-never-waits", _call(61, 2**64 - 1)),
        ("parent-never-waits", _call(61, 2**32 - 5)),
        ("parent-never-waits", _call(61, 0)),
        ("waits-for-another", _call(247, os.P_PID, 813)),
        ("parent-never-waits", _call(247, os.P_ALL, 813)),
        ("sigwait-loop", _call(128)),
        ("parent-never-waits", _call(230)),
    ],
)
def test_the_system_call_of_the_parent_is_evidence(name: str, call: Call) -> None:
    """A wait for one other pid is the cause; a wait for all or for a group is not."""
    assert explain(ZOMBIE, _threads(call=call)).name == name


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86-64's")
def test_a_vfork_is_known_by_its_call_or_its_channel() -> None:
    """Either may be secret."""
    assert explain(ZOMBIE, _threads(state="D", wchan=None, call=_call(58))).name == "parent-in-vfork"
    assert explain(ZOMBIE, _threads(state="D", wchan=None, call=None)).name == "parent-never-waits"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86-64's")
def test_a_pid_of_another_namespace_is_compared_there() -> None:
    """The parent waits for its own number of the zombie, which is not ours."""
    parent = _threads(call=_call(61, 5))._replace(depth=2)
    assert explain(ZOMBIE._replace(inner_pid=5), parent).name == "parent-never-waits"
    cause = explain(ZOMBIE._replace(inner_pid=6), parent)
    assert cause.name == "waits-for-another"
    assert "of its PID namespace" in cause.evidence


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86-64's")
def test_a_thread_that_waits_for_its_own_children_only() -> None:
    """It is the cause where another thread made the zombie."""
    for call in (_call(61, 2**64 - 1, 0, 0x20000000), _call(247, os.P_ALL, 0, 0, 0x20000004)):
        parent = PARENT._replace(threads=(THREAD._replace(call=call), THREAD._replace(tid=8)))
        assert explain(ZOMBIE._replace(forker=8), parent).name == "waits-for-own-thread"
        assert explain(ZOMBIE._replace(forker=7), parent).name == "parent-never-waits"
        assert explain(ZOMBIE, parent).name == "parent-never-waits"


def test_one_thread_is_not_all() -> None:
    """A parent is stopped, or blocks SIGCHLD, only if every living thread does."""
    for change in ({"state": "T"}, {"state": "R"}, {"is_blocked": True}):
        threads = (THREAD._replace(**change), THREAD._replace(tid=8))
        assert explain(ZOMBIE, PARENT._replace(threads=threads)).name == "parent-never-waits"


def test_a_tracer_that_is_the_parent_is_just_the_parent() -> None:
    """It collects by its ordinary wait."""
    assert explain(ZOMBIE._replace(tracer=7), PARENT).name == "parent-never-waits"


def test_what_needs_no_help_is_no_leak() -> None:
    """A dead leader, a zombie in transit and a crashing parent's; all others are."""
    harmless = (
        explain(ZOMBIE._replace(live_threads=1), PARENT),
        explain(ZOMBIE, None),
        explain(ZOMBIE._replace(age_s=0.0), PARENT),
        explain(ZOMBIE, PARENT._replace(dumps_core=True)),
    )
    assert not any(cause.is_leak for cause in harmless)
    assert explain(ZOMBIE, PARENT).is_leak


def test_a_signalfd_is_told_again_only_if_nothing_is_pending() -> None:
    """What is pending already cannot be sent a second time: signal(7)."""
    reading = _threads(is_blocked=True)._replace(signalfd=True)
    assert explain(ZOMBIE, reading).advice.startswith("tell it again: kill -CHLD 7;")
    assert "kill -CHLD" not in explain(ZOMBIE, reading._replace(is_pending=True)).advice


def test_a_stopped_parent_is_named_even_of_a_young_zombie() -> None:
    """It will not collect it however long one waits."""
    assert explain(ZOMBIE._replace(age_s=0.0), _threads(state="T")).name == "parent-stopped"


def test_advice_is_a_command_with_its_pids() -> None:
    """The other one that is waited for, the file that freezes, and never the end of an init."""
    waits = _threads(call=_call(61, 0x29A))
    assert "kill 666;" in explain(ZOMBIE, waits).advice
    assert "666" not in explain(ZOMBIE, waits._replace(depth=2)).advice  # a pid that means another one here
    for file, command in (
        ("/cg/a b/cgroup.events", "echo 0 > '/cg/a b/cgroup.freeze'"),
        ("/cg/freezer.state", "echo THAWED > /cg/freezer.state"),
    ):
        assert command in explain(ZOMBIE, PARENT._replace(frozen_by=file)).advice
    for zombie in (ZOMBIE._replace(exit_signal=0), ZOMBIE):
        advice = explain(zombie, PARENT._replace(is_init=True)).advice
        assert "reaperd reap --parent 7 --yes" in advice
        assert "kill 7" not in advice


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of 32-bit programs on x86-64")
def test_a_32_bit_parent_that_takes_signals_has_two_numbers_for_it() -> None:
    """The call with 64-bit times is number 421, which is none of ours to a 64-bit program."""
    for number in (177, 421):
        call = _call(number)._replace(is_32_bit=True)
        assert explain(ZOMBIE, _threads(call=call)).name == "sigwait-loop"
    assert explain(ZOMBIE, _threads(call=_call(421))).name == "parent-never-waits"
