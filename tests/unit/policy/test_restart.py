from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import Backoff, Restart, ServiceSpec, StartLimit
from reaperd.policy.restart import LEAST_NS, delay_ns, due, recent, succeeded, used_up
from reaperd.policy.words import Cause, Exited, NotReady, NotSpawned, Unhealthy
from reaperd.units import MAX_DURATION_NS

SEEDS = st.integers(0, 2**63)
ANY_JITTER = st.floats(0, 1)
NO_JITTER = st.just(0.0)
NOT_EXITED: tuple[Cause, ...] = (NotSpawned("exec", 2), NotReady(), Unhealthy("no answer"))


@st.composite
def backoffs(draw: st.DrawFn, jitter: st.SearchStrategy[float] = ANY_JITTER) -> Backoff:
    """Return any backoff that a configuration can have."""
    initial_ns, max_ns = sorted(draw(st.tuples(*[st.integers(LEAST_NS, MAX_DURATION_NS)] * 2)))
    factor = draw(st.floats(1, 1000))
    return Backoff(initial_ns, factor, max_ns, draw(jitter))


@given(backoffs(), st.integers(1, 10**9), SEEDS)
def test_a_delay_is_a_wait_and_never_longer_than_max(backoff: Backoff, failures: int, seed: int) -> None:
    """Whatever the numbers, nothing overflows and no crash loop goes without a pause."""
    assert LEAST_NS <= delay_ns(backoff, failures, seed) <= backoff.max_ns


@given(backoffs(NO_JITTER), st.integers(1, 3000), SEEDS, SEEDS)
def test_without_jitter_a_delay_never_shrinks(backoff: Backoff, failures: int, one: int, other: int) -> None:
    """More failures never wait less, and the seed says nothing."""
    assert delay_ns(backoff, failures, one) <= delay_ns(backoff, failures + 1, other)


@given(backoffs(), st.integers(1, 50), SEEDS)
def test_jitter_is_bounded(backoff: Backoff, failures: int, seed: int) -> None:
    """A delay strays from what it would be without jitter by at most that share."""
    base = delay_ns(Backoff(backoff.initial_ns, backoff.factor, backoff.max_ns, 0.0), failures, seed)
    rounding = base / 2**50 + 1
    strayed = abs(delay_ns(backoff, failures, seed) - base)
    assert strayed <= base * backoff.jitter + rounding or base * (1 - backoff.jitter) < LEAST_NS


def test_the_first_delays_are_those_of_the_manual() -> None:
    """500 ms, doubled up to 30 s."""
    plain = Backoff(jitter=0.0)
    seconds = [delay_ns(plain, failures, 0) / 1e9 for failures in range(1, 10)]
    assert seconds == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_services_that_fail_together_do_not_come_back_together() -> None:
    """Neighbouring moments give scattered delays, at the longest wait as well."""
    backoff = Backoff(jitter=0.1)
    for failures in (1, 50):
        delays = {delay_ns(backoff, failures, 10**15 + each) for each in range(1000)}
        assert len(delays) > 990
        base = delay_ns(Backoff(jitter=0.0), failures, 0)
        assert min(delays) < base * 0.91, "the whole range is used"


def test_the_same_moment_gives_the_same_delay() -> None:
    """A decision can be replayed."""
    assert delay_ns(Backoff(), 3, 12345) == delay_ns(Backoff(), 3, 12345)


SPEC = ServiceSpec("web", ("web",))


@pytest.mark.parametrize("cause", [None, Exited(code=1), Exited(signal=15), *NOT_EXITED])
def test_only_exit_status_zero_is_success(cause: Cause | None) -> None:
    """A signal, another code, a program that never ran or was not well are failures."""
    assert succeeded(Exited(code=0), SPEC)
    assert not succeeded(cause, SPEC)


def test_what_else_is_success_is_configured() -> None:
    """Codes and signals; naming others takes nothing from what they mean elsewhere."""
    spec = replace(SPEC, success_exit_codes=(0, 75), success_signals=(15,))
    assert succeeded(Exited(code=75), spec)
    assert succeeded(Exited(signal=15), spec)
    assert not succeeded(Exited(code=15), spec)
    assert not succeeded(Exited(signal=9), spec)
    assert not succeeded(Exited(code=0), replace(SPEC, success_exit_codes=(3,)))


@pytest.mark.parametrize("cause", [Exited(code=0), Exited(code=1), *NOT_EXITED])
def test_never_and_always_do_not_ask_how(cause: Cause) -> None:
    """Their names say it."""
    assert due(cause, replace(SPEC, restart=Restart.ALWAYS))
    assert not due(cause, replace(SPEC, restart=Restart.NEVER))
    assert due(cause, replace(SPEC, restart=Restart.ON_FAILURE)) != succeeded(cause, SPEC)


@given(st.lists(st.integers(0, 100), max_size=20).map(sorted), st.integers(1, 5), st.integers(1, 50))
def test_the_start_limit_counts_what_is_within_its_interval(
    starts: list[int], count: int, interval_ns: int
) -> None:
    """No more starts are remembered than can matter, and forgetting the others changes no answer."""
    limit, now_ns = StartLimit(count, interval_ns), 100
    within = [at_ns for at_ns in starts if now_ns - at_ns < interval_ns]
    kept = recent(tuple(starts), limit, now_ns)
    assert used_up(tuple(starts), limit, now_ns) == used_up(kept, limit, now_ns) == (len(within) >= count)
    assert list(kept) == within[-count:]


def test_without_a_limit_nothing_is_counted() -> None:
    """A service that is restarted for years does not grow for it."""
    assert recent((1, 2, 3), None, 4) == ()
    assert not used_up((1, 2, 3), None, 4)
