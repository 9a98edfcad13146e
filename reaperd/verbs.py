"""What can be asked of a running daemon: each verb once, whatever door the ask came through.

Acting verbs answer when what they asked for is settled, or at once where the client would rather not wait;
those that only look are answered by `teller`.
"""

from collections.abc import Callable
from typing import Final

from reaperd.config.diff import Diff
from reaperd.config.spec import EVERY, Config
from reaperd.control.doors import Doors
from reaperd.control.words import Answer, Ask, Feed, name_of, refusal, unknown_service
from reaperd.errors import ReaperdError
from reaperd.policy import order
from reaperd.policy.words import Awaits, State
from reaperd.scaling import Scaling
from reaperd.supervise import reload, status
from reaperd.supervise.settled import is_settled, is_well
from reaperd.supervise.shutdown import Phase, Shutdown
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.waiting import Waiting, WaitingRoom, patience_ns
from reaperd.supervise.world import World
from reaperd.teller import Teller

ACTION_SCHEMA: Final = "reaperd.action/1"
RELOAD_SCHEMA: Final = "reaperd.reload/1"
_CHANGES: Final = ("added", "changed", "removed", "unchanged")
_AT_ONCE: Final = frozenset({"shutdown_timeout_ns", "control", "zombies"})  # what a running daemon follows


class Verbs:
    """Answer asks: implements `control.words.Daemon`.

    Attributes:
        config: the configuration that the daemon follows now.
        say: sends the answer to an ask that had to wait; set once there is a server to send it.
        doors: where clients come in; set at the same time.
        reloads: how often the files were read again.
        refused: whether they could not be followed the last time.
    """

    def __init__(
        self, config: Config, supervisor: Supervisor, shutdown: Shutdown, world: World, teller: Teller
    ) -> None:
        self.config = config
        self.say: Callable[[int, Answer], None] = _nobody_listens
        self.doors: Doors | None = None
        self.reloads = 0
        self.refused = False
        self._supervisor = supervisor
        self._shutdown = shutdown
        self._world = world
        self._teller = teller
        self._scaling = Scaling()
        self._waiting = WaitingRoom()
        self._until_end: list[int] = []  # tickets of those who wait for the daemon's end

    def ask(self, ticket: int, ask: Ask) -> Answer | Feed | None:
        """Answer at once, or later under the same ticket."""
        match ask.verb:
            case "openapi" | "status" | "why" | "tree" | "metrics" | "events":
                return self._teller.tell(ask, self.config)
            case "reload" if ask.dry_run:
                return self._try_reload()
            case "reload":
                return self._reload(ticket, ask)
            case "shutdown":
                self._shutdown.ask(f"asked by {name_of(ask.peer)}")
                return self._see_end(ticket, ask)
            case "scale":
                return self._scale(ticket, ask)
            case "start" | "stop" | "restart" | "signal" | "reload-services":
                return self._act(ticket, ask)

    def hung_up(self, ticket: int) -> None:
        """Forget an ask whose client has left."""
        self._waiting.leave(ticket)
        if ticket in self._until_end:
            self._until_end.remove(ticket)

    def next_ns(self) -> int | None:
        """Return when the next waiting ask has waited long enough; None while nobody waits."""
        return self._waiting.next_ns()

    def settle(self) -> None:
        """Answer who waited for what is settled now."""
        wishes, now_ns = self._supervisor.wishes, self._world.clock()
        self._waiting.settled(
            wishes, now_ns, lambda ticket, waiting: self.say(ticket, self._outcome(waiting))
        )

    def end(self) -> None:
        """Answer who waited for the daemon's end; nothing of it is left but this."""
        for ticket in self._until_end:
            self.say(ticket, Answer(200, {"schema": ACTION_SCHEMA, "items": []}))

    # --- acting -----------------------------------------------------------------------------------------

    def _act(self, ticket: int, ask: Ask) -> Answer | None:
        self._supervisor.settle()  # what came in this turn before the ask: it is judged by what is so now
        names = self._teller.named(ask, self.config)
        if isinstance(names, Answer):
            return names
        if ask.names == (EVERY,):
            names = tuple(name for name in names if self._is_meant(ask.verb, name))
        if self._shutdown.phase is not Phase.UP and ask.verb != "stop":
            return refusal(409, "ending", f"cannot {ask.verb}: the daemon is shutting down")
        match ask.verb:
            case "start":
                self._supervisor.start(names)
            case "stop":
                self._supervisor.stop(reversed(names))
            case "restart":
                self._supervisor.restart(names)
            case "signal":
                return self._signal(ask, names)
            case _:
                return self._reload_services(names)
        return self._wait_for(ticket, ask, Waiting(ask.verb, names))

    def _is_meant(self, verb: str, name: str) -> bool:
        """Tell whether "all" means this one: not what waits for its time, nor what has done its work."""
        service = self._supervisor.services[name]
        if verb == "reload-services":
            return service.spec.reload is not None and service.main is not None
        if service.run.state is State.WAITING and service.run.awaits is Awaits.SCHEDULE:
            return verb == "stop"
        return verb != "start" or not order.satisfies(service.run, service.spec)

    def _wait_for(self, ticket: int, ask: Ask, waiting: Waiting) -> Answer | None:
        if ask.wait:
            self._enter(ticket, waiting)
            return None
        self._supervisor.settle()
        return self._outcome(waiting, is_over=False)

    def _signal(self, ask: Ask, names: tuple[str, ...]) -> Answer:
        assert ask.signal is not None, "the door asks for it"
        items: list[dict[str, object]] = []
        for name in names:
            problem = self._supervisor.signal(name, ask.signal, ask.scope)
            items.append(self._done(name, problem))
        return Answer(200, {"schema": ACTION_SCHEMA, "items": items})

    def _done(self, name: str, problem: str | None) -> dict[str, object]:
        """Return what came of an ask that needs no waiting."""
        state = self._supervisor.services[name].run.state.value
        return {"name": name, "ok": problem is None, "state": state, "why": problem}

    def _enter(self, ticket: int, waiting: Waiting) -> None:
        patience = patience_ns(self._supervisor.services.values())
        self._waiting.enter(ticket, waiting, self._world.clock() + patience)

    def _reload_services(self, names: tuple[str, ...]) -> Answer:
        services = [self._supervisor.services[name] for name in names]
        for service in services:
            if service.spec.reload is None:
                name = service.spec.name
                hint = f"say how in service.{service.spec.base or name}.reload, or: reaperd restart {name}"
                return refusal(409, "no-reload", f'cannot reload "{name}": it does not say how', hint)
        items: list[dict[str, object]] = []
        for name in names:
            problem = self._supervisor.reload_service(name)
            items.append(self._done(name, problem))
        return Answer(200, {"schema": ACTION_SCHEMA, "items": items})

    # --- another configuration --------------------------------------------------------------------------

    def reload(self) -> None:
        """Follow the configuration's files as they are now; what comes of it is in the log."""
        difference = self._follow(None)
        if isinstance(difference, Diff):
            # Nobody is answered: a ticket that no client has.
            self._enter(-self.reloads, _settling("reload", difference))

    def is_reloading(self) -> bool:
        """Tell whether something is still to start or to stop for a reload that somebody waits for."""
        return self._waiting.holds("reload")

    def _reload(self, ticket: int, ask: Ask) -> Answer | None:
        difference = self._follow(None)
        return difference if isinstance(difference, Answer) else self._after(ticket, ask, difference)

    def _try_reload(self) -> Answer:
        try:
            new = self._scaling.load(self.config.source, None)
        except ReaperdError as error:
            return _refused(error)
        difference = reload.difference(self.config, new)
        items = [{"name": name, "change": change} for name, change in _changes(difference, *_CHANGES)]
        body = {"schema": RELOAD_SCHEMA, "items": items, "needs_restart": _needs_restart(difference)}
        return Answer(200, {**body, "dry_run": True})

    def _scale(self, ticket: int, ask: Ask) -> Answer | None:
        (name,), count = ask.names, ask.instances
        assert count is not None, "the door asks for it"
        if name not in dict(self.config.instances):
            if name not in {spec.base or spec.name for spec in self.config.services}:
                return unknown_service(name, dict(self.config.instances))
            hint = f"give it service.{name}.instances, and reload"
            return refusal(409, "no-instances", f'cannot scale "{name}": it has no instances', hint)
        difference = self._follow((name, count))
        return difference if isinstance(difference, Answer) else self._after(ticket, ask, difference)

    def _after(self, ticket: int, ask: Ask, difference: Diff) -> Answer | None:
        return self._wait_for(ticket, ask, _settling(ask.verb, difference))

    def _follow(self, scale: tuple[str, int] | None) -> Diff | Answer:
        """Follow the files as they are now, or say why not; then nothing has changed."""
        if self._shutdown.phase is not Phase.UP:
            return refusal(409, "ending", "cannot reload: the daemon is shutting down")
        self._supervisor.settle()  # a change is followed by what is so now
        if self.doors is not None:
            self.doors.mend()
        self.reloads += scale is None
        try:
            new = self._scaling.load(self.config.source, scale)
            follow = None if self.doors is None else self.doors.prepare(new.daemon.control)
        except ReaperdError as error:
            self._world.log("daemon.reload_refused", problem=error.message, hint=error.hint)
            self.refused = self.refused or scale is None
            return _refused(error)
        if follow is not None:
            follow()
        self.refused = False
        self._scaling.follow(new, scale)
        difference = reload.apply(self._supervisor, self.config, new)
        self.config = new
        self._shutdown.timeout_ns = new.daemon.shutdown_timeout_ns
        self._supervisor.zombies.follow(new.daemon.zombies)
        self._world.log(
            "daemon.reloaded",
            added=difference.added,
            changed=difference.changed,
            removed=difference.removed,
            needs_restart=_needs_restart(difference),
        )
        return difference

    # --- answers ----------------------------------------------------------------------------------------

    def _outcome(self, waiting: Waiting, *, is_over: bool = True) -> Answer:
        """Return what came of it; unless it `is_over`, what is still on its way is no failure."""
        wishes = self._supervisor.wishes

        def is_ok(name: str) -> bool:
            is_moving = not is_over and not is_settled(waiting.verb, name, wishes)
            return is_moving or is_well(waiting.verb, wishes.services.get(name))

        present = [wishes.services[name] for name in waiting.names if name in wishes.services]
        rows = {
            row["name"]: row
            for row in status.rows(present, wishes.gates, self._world.timers, self._world.clock())
        }
        items: list[dict[str, object]] = [
            {
                "name": name,
                "ok": is_ok(name),
                "state": rows[name]["state"] if name in rows else None,
                "why": rows[name]["why"] if name in rows else "no longer configured",
            }
            for name in waiting.names
        ]
        if waiting.verb != "reload":
            return Answer(200, {"schema": ACTION_SCHEMA, "items": items})
        told = {item["name"]: item for item in items}
        changed = [{"name": name, "change": change, **told.get(name, {})} for name, change in waiting.changes]
        body = {"schema": RELOAD_SCHEMA, "items": changed, "needs_restart": waiting.needs_restart}
        return Answer(200, {**body, "dry_run": False})

    def _see_end(self, ticket: int, ask: Ask) -> Answer | None:
        if not ask.wait:
            return Answer(202, {"schema": ACTION_SCHEMA, "items": []})
        self._until_end.append(ticket)
        return None


def _refused(error: ReaperdError) -> Answer:
    return refusal(422, "configuration", error.message, "nothing was changed; mend the file")


def _settling(verb: str, difference: Diff) -> Waiting:
    """Return what is to start, stop or change for another configuration, or other numbers of instances."""
    changes = _changes(difference, *(_CHANGES[:3] if verb == "scale" else _CHANGES))
    names = tuple(name for name, change in changes if change != "unchanged")
    return Waiting("reload", names, changes, _needs_restart(difference))


def _changes(difference: Diff, *changes: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, change) for change in changes for name in getattr(difference, change))


def _needs_restart(difference: Diff) -> tuple[str, ...]:
    """Return the keys of [daemon] that changed and that only a new daemon follows."""
    return tuple(name for name in difference.daemon if name not in _AT_ONCE)


def _nobody_listens(ticket: int, answer: Answer) -> None:
    del ticket, answer
