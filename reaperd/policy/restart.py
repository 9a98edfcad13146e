"""When a run that ended is started again, and how long that waits. Pure.

Every unplanned end counts as a failure until a run proves stable, a clean one of `restart = "always"`
included: so no policy can become a loop without a pause.
"""

from typing import Final

from reaperd.config.spec import Backoff, Restart, ServiceSpec, StartLimit
from reaperd.policy.words import Cause, Exited

LEAST_NS: Final = 1_000_000  # a wait that jitter shortens is still one
_MASK_64: Final = (1 << 64) - 1


def succeeded(cause: Cause | None, spec: ServiceSpec) -> bool:
    """Tell whether a main process ended as it should."""
    return isinstance(cause, Exited) and (
        cause.code in spec.success_exit_codes or cause.signal in spec.success_signals
    )


def due(cause: Cause | None, spec: ServiceSpec) -> bool:
    """Tell whether a run that ended by itself is to be started again."""
    match spec.restart:
        case Restart.ALWAYS:
            return True
        case Restart.ON_FAILURE:
            return not succeeded(cause, spec)
        case Restart.NEVER:
            return False


def recent(starts: tuple[int, ...], limit: StartLimit | None, now_ns: int) -> tuple[int, ...]:
    """Return those of the `starts` that the limit still counts, the latest last; none without a limit."""
    if limit is None:
        return ()
    return tuple(at_ns for at_ns in starts if at_ns > now_ns - limit.interval_ns)[-limit.count :]


def used_up(starts: tuple[int, ...], limit: StartLimit | None, now_ns: int) -> bool:
    """Tell whether the limit allows no further start."""
    return limit is not None and len(recent(starts, limit, now_ns)) >= limit.count


def delay_ns(backoff: Backoff, failures: int, seed: int) -> int:
    """Return how long to wait after the `failures`-th failure in a row (from 1), in nanoseconds.

    The delay grows by `factor` up to `max`, and strays from that by at most `jitter`, so that services
    which died together do not come back together: at `max` too, where it only strays downwards. `seed`
    decides the straying: same input, same answer.
    """
    try:
        grown = backoff.initial_ns * backoff.factor ** (failures - 1)
    except OverflowError:
        grown = backoff.max_ns
    base = min(grown, backoff.max_ns)
    least, most = base * (1 - backoff.jitter), min(base * (1 + backoff.jitter), backoff.max_ns)
    strayed = int(least + (most - least) * _share(seed))
    return min(max(strayed, LEAST_NS), backoff.max_ns)


def _share(seed: int) -> float:
    """Turn `seed` into a number from 0 to 1: one round of splitmix64, which scatters neighbours."""
    mixed = (seed + 0x9E3779B97F4A7C15) & _MASK_64
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return (mixed ^ (mixed >> 31)) / _MASK_64
