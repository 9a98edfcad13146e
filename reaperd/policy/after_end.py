"""Steps after the end of a run: does it come again, when, and what follows where it does not."""

from dataclasses import replace

from reaperd.config.spec import Essential, ServiceSpec
from reaperd.policy import restart, way_up
from reaperd.policy.words import (
    Action,
    ArmTimer,
    Decision,
    Emit,
    EndDaemon,
    Event,
    HookKind,
    Run,
    RunHook,
    State,
    Timer,
)


def by_policy(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Decide by the restart policy what follows a run that nobody asked to end."""
    failed = not restart.succeeded(run.cause, spec)
    if not restart.due(run.cause, spec):
        decided, actions = _rest(run, spec, failed=failed)
    elif restart.used_up(run.starts, spec.start_limit, event.at_ns):
        failed = True  # however well each of its runs ended
        decided, actions = _rest(replace(run, gave_up=True), spec, failed=True)
    else:
        decided, actions = _back_off(run, event, spec)
    hook = (RunHook(HookKind.FAILURE),) if failed and spec.on_failure else ()
    return decided, (*hook, *actions)


def _back_off(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    failures = run.failures + 1
    delay_ns = restart.delay_ns(spec.backoff, failures, event.at_ns)
    waiting = replace(run, state=State.BACKOFF, failures=failures)
    told = Emit("service.backoff", (("failures", failures), ("delay", round(delay_ns / 1e9, 3))))
    return waiting, (told, ArmTimer(Timer.BACKOFF, event.at_ns + delay_ns))


def _rest(run: Run, spec: ServiceSpec, *, failed: bool) -> Decision:
    told = Emit("service.failed", (("gave_up", run.gave_up),)) if failed else Emit("service.finished")
    actions = (told, *_essential(run, spec, failed=failed))
    if spec.schedule is None:
        return replace(run, state=State.FAILED if failed else State.EXITED), actions
    if run.queued:
        return way_up.begin(way_up.afresh(run)), actions
    return way_up.await_schedule(run, *actions)


def _essential(run: Run, spec: ServiceSpec, *, failed: bool) -> tuple[Action, ...]:
    ends = spec.essential is Essential.EXIT or (spec.essential is Essential.FAILURE and failed)
    return (EndDaemon(run.cause),) if ends and run.cause is not None else ()
