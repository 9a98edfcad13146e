"""Zombies under services: look for them from time to time, say which stay, and do what the user allows.

The kernel does not announce a grandchild's zombie, so there is nothing to wait for but time. Nobody looks
unless the configuration asks for it: then one timer serves all services, and each look is a helper process
(zombies/tend.py) that reads /proc and answers with one line of JSON. What is to be done about what it found
is done by another one, so that the daemon neither traces anybody nor waits for anybody. At most one of them
is at work at a time; the next look is armed when it has ended.

The first zombie that stays under a parent is told, and again each time they have doubled since; that all are
gone is told once. Each one is tried to be cleared three times at most.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from reaperd.children.tally import Tally
from reaperd.config import spec as config
from reaperd.config.daemon_spec import ZombieRemedy
from reaperd.config.spec import SECOND_NS, HealthAction, ServiceSpec
from reaperd.policy.words import CheckFailed, Event, Exited, Unhealthy
from reaperd.supervise.helper import MOST_ANSWERED, Errand, Finished, Order
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.litter import Litter, Place
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World

_PROGRAM: Final = "reaperd.zombies.tend"
_NOBODY: Final = ""  # a look is on behalf of no single service
_DEADLINE: Final = (_NOBODY, Pulse.ZOMBIES)
LOOKING_NS: Final = 60 * SECOND_NS  # then a look is ended
CLEARING_NS: Final = 120 * SECOND_NS  # so late that it has given up by itself, and is not ended in the middle
_SHORTEST_NS: Final = SECOND_NS  # between two looks
_DEFAULT: Final = config.Zombies()


class Zombies:
    """Know the zombies that stay under services.

    Args:
        world: what is acted through.
        helpers: run what looks and what clears.
        service_of: tells the service that a child of the daemon belongs to, by pid.
        post: takes what a limit leads to.
    """

    def __init__(
        self,
        world: World,
        helpers: Helpers,
        service_of: Callable[[int], Service | None],
        post: Callable[[Service, Event], None],
    ) -> None:
        self._world = world
        self._helpers = helpers
        self._service_of = service_of
        self._post = post
        self._remedy: ZombieRemedy | None = None
        self._services: dict[str, Service] = {}  # that have a run
        self._ages: dict[str, int] = {}  # of those that are looked at: what they ask for, in nanoseconds
        self._askers: Counter[int] = Counter()  # how many ask for each of these ages
        self._litter = Litter()
        self._at_work = False  # a look or what follows it
        self._told: dict[Place, int] = {}  # how many were told last
        self._told_stay: dict[Place, str] = {}  # why they were last said to stay
        self._over: set[str] = set()  # services above their limits, where that is only told
        self._told_problem: str | None = None  # why the last look could not look

    # --- when to look -----------------------------------------------------------------------------------

    def follow(self, remedy: ZombieRemedy | None) -> None:
        """Follow the configuration as it is now; None to look only where a service asks for it."""
        self._remedy = remedy
        for service in self._services.values():
            self._note_age(service)
            if self._wanted(service) is None:
                self._forget(service)
        self._arrange()

    def begin(self, service: Service) -> None:
        """Look at a service from now on, if anybody asks for that."""
        self._services[service.spec.name] = service
        if self._note_age(service):
            self._arrange()

    def end(self, service: Service) -> None:
        """Look no more; its tree is empty."""
        if self._services.pop(service.spec.name, None) is not None:
            self._forget(service)
            if self._drop_age(service.spec.name):
                self._arrange()

    def _note_age(self, service: Service) -> bool:
        """Take down what a service asks for, so that no start looks at all others; tell whether it asks."""
        self._drop_age(service.spec.name)
        wanted = self._wanted(service)
        if wanted is not None:
            self._ages[service.spec.name] = wanted.age_ns
            self._askers[wanted.age_ns] += 1
        return wanted is not None

    def _drop_age(self, name: str) -> bool:
        """Forget what a service asked for; tell whether it did."""
        age_ns = self._ages.pop(name, None)
        if age_ns is not None:
            self._askers[age_ns] -= 1
            if not self._askers[age_ns]:
                del self._askers[age_ns]
        return age_ns is not None

    def _arrange(self) -> None:
        every_ns = self._every_ns()
        if every_ns is None:
            self._world.timers.cancel(_DEADLINE)
        elif not self._at_work:
            at_ns, armed_ns = self._world.clock() + every_ns, self._world.timers.at_ns(_DEADLINE)
            self._world.timers.arm(_DEADLINE, at_ns if armed_ns is None else min(at_ns, armed_ns))

    def _every_ns(self) -> int | None:
        return max(min(self._askers), _SHORTEST_NS) if self._askers else None

    def _wanted(self, service: Service) -> config.Zombies | None:
        return service.spec.zombies or (_DEFAULT if self._remedy is not None else None)

    def _forget(self, service: Service) -> None:
        name, service.zombies = service.spec.name, None
        self._litter.forget(name)
        self._told = {place: count for place, count in self._told.items() if place[0] != name}
        self._told_stay = {place: why for place, why in self._told_stay.items() if place[0] != name}
        self._over.discard(name)

    # --- what is known ----------------------------------------------------------------------------------

    def looks(self) -> dict[str, object] | None:
        """Return what `status` says of the looks; None where nobody looks."""
        every_ns = self._every_ns()
        if every_ns is None:
            return None
        return {"every": every_ns / SECOND_NS, "remedy": (self._remedy or ZombieRemedy.REPORT).value}

    def rows(self) -> list[tuple[str, str, int]]:
        """Return how many zombies stay, by service and name of the parent, as of the latest look."""
        return self._litter.rows()

    def count_now(self, services: Iterable[Service], tallies: Mapping[str, Tally]) -> None:
        """Take over the zombies there are at this moment under services at which nobody looks, for who asks.

        Of any age, for nobody knows it. None is put down where there are more processes than may be read.
        """
        for service in services:
            if self._wanted(service) is None:
                found = tallies.get(service.run_id or "")
                service.zombies = None if found is None else found.zombies

    # --- looking ----------------------------------------------------------------------------------------

    def due(self) -> None:
        """Look now."""
        if self._every_ns() is not None and not self._at_work:
            self._at_work = True
            self._run(Errand.LOOK, LOOKING_NS, "look", str(os.getpid()))

    def finished(self, finished: Finished) -> None:
        """Take what a look found, or what became of what was to be cleared."""
        answer = _answer_of(finished)
        if isinstance(answer, str):
            self._tell_problem(answer)
        elif finished.order.errand is Errand.LOOK:
            self._told_problem = None
            self._litter.take(answer["groups"], self._whose, self._world.clock())
            self._tell()
            if self._clear():
                return
        else:
            self._cleared(answer)
        self._at_work = False
        self._judge()
        self._arm_next()

    def _whose(self, child: int) -> tuple[Service, config.Zombies] | None:
        service = self._service_of(child)
        wanted = None if service is None else self._wanted(service)
        return None if service is None or wanted is None else (service, wanted)

    def _arm_next(self) -> None:
        every_ns = self._every_ns()
        if every_ns is not None:
            now_ns = self._world.clock()
            at_ns = min(now_ns + every_ns, self._litter.next_ns or now_ns + every_ns)
            self._world.timers.arm(_DEADLINE, max(at_ns, now_ns + _SHORTEST_NS))

    def _tell(self) -> None:
        for place, heap in self._litter.heaps.items():
            if heap.count >= max(2 * self._told.get(place, 0), 1):
                self._told[place] = heap.count
                self._world.log(
                    "service.zombies",
                    service=place[0],
                    parent=place[1],
                    name=heap.parent,
                    count=heap.count,
                    oldest=round(heap.oldest_s, 1),
                    cause=heap.cause,
                    helps=heap.helps,
                )
        for place in [place for place in self._told if place not in self._litter.heaps]:
            self._tell_gone(place, None)

    def _tell_gone(self, place: Place, by: str | None) -> None:
        self._told.pop(place, None)
        self._told_stay.pop(place, None)
        self._world.log("service.zombies_gone", service=place[0], parent=place[1], by=by)

    def _tell_problem(self, why: str) -> None:
        if why != self._told_problem:
            self._world.log("daemon.cannot_tend_zombies", problem=why)
        self._told_problem = why

    # --- clearing ---------------------------------------------------------------------------------------

    def _clear(self) -> bool:
        """Begin to clear what may be cleared; tell whether there is anything."""
        if self._remedy in {None, ZombieRemedy.REPORT}:
            return False
        assert self._remedy is not None
        named = self._litter.next_tries()
        if named:
            words = [":".join(map(str, each)) for each in named]
            self._run(Errand.REAP, CLEARING_NS, self._remedy.value, str(os.getpid()), *words)
        return bool(named)

    def _cleared(self, answer: Mapping[str, Any]) -> None:  # Any: JSON of our own helper
        for place, by in self._litter.cleared(dict(answer["gone"])).items():
            self._tell_gone(place, by)
        for stay in answer["stay"]:
            for place in [place for place in self._litter.heaps if place[1] == stay["ppid"]]:
                self._tell_stay(place, stay)

    def _tell_stay(self, place: Place, stay: Mapping[str, Any]) -> None:  # Any: JSON of our own helper
        why = stay["why"]
        if self._told_stay.get(place) != why:
            self._told_stay[place] = why
            name, ppid, hint = *place, stay["hint"]
            self._world.log(
                "service.zombies_stay", service=name, parent=ppid, count=stay["count"], problem=why, hint=hint
            )

    # --- limits -----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        for name, service in self._services.items():
            wanted = self._wanted(service)
            if wanted is not None:
                service.zombies = self._litter.count(name)
                self._hold_to(wanted, service, service.zombies)

    def _hold_to(self, wanted: config.Zombies, service: Service, count: int) -> None:
        name, limit = service.spec.name, wanted.limit
        if limit is None or count <= limit:
            self._over.discard(name)
        elif wanted.action is HealthAction.RESTART:
            cause = Unhealthy(f"{count} zombies stay, {limit} may", "had more zombies than its limit allows")
            self._post(service, CheckFailed(cause, self._world.clock()))
        elif name not in self._over:
            self._over.add(name)
            self._world.log("service.too_many_zombies", service=name, count=count, limit=limit)

    # --- helpers ----------------------------------------------------------------------------------------

    def _run(self, errand: Errand, timeout_ns: int, *words: str) -> None:
        command = (*_interpreter(), "-m", _PROGRAM, *words)
        order = Order(_NOBODY, errand, ServiceSpec("zombies", command), timeout_ns, kept_bytes=MOST_ANSWERED)
        self._helpers.run(order)


def _answer_of(finished: Finished) -> Mapping[str, Any] | str:  # Any: JSON of our own helper
    """Return what the helper answered, or why it did not."""
    problem = finished.problem()
    if problem is not None:
        is_told = isinstance(finished.outcome, Exited) and finished.said
        return finished.said if is_told else problem
    try:
        answer = json.loads(finished.answer)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else f"the helper said: {finished.said}"


def _interpreter() -> tuple[str, ...]:
    """Return how this interpreter was started: what isolates the daemon isolates its helpers too."""
    words = sys.orig_argv[1:]
    return (sys.executable, *(words[: words.index("-m")] if "-m" in words else ()))
