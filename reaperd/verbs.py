"""What can be asked of a running daemon: each verb once, whatever door the ask came through.

Reading verbs answer at once from what is true between two turns. Acting verbs answer when what they asked
for is settled, or at once where the client would rather not wait.
"""

from collections.abc import Callable
from typing import Final

from reaperd.config.parse import load
from reaperd.config.spec import Config
from reaperd.control.words import EVERY, Answer, Ask, refusal, unknown_service
from reaperd.errors import ReaperdError
from reaperd.supervise import reload, status
from reaperd.supervise.shutdown import Phase, Shutdown
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.waiting import Waiting, WaitingRoom, is_well
from reaperd.supervise.world import World

ACTION_SCHEMA: Final = "reaperd.action/1"
RELOAD_SCHEMA: Final = "reaperd.reload/1"


class Verbs:
    """Answer asks: implements `control.words.Daemon`.

    Attributes:
        config: the configuration that the daemon follows now.
        say: sends the answer to an ask that had to wait; set once there is a server to send it.
    """

    def __init__(self, config: Config, supervisor: Supervisor, shutdown: Shutdown, world: World) -> None:
        self.config = config
        self.say: Callable[[int, Answer], None] = _nobody_listens
        self._supervisor = supervisor
        self._shutdown = shutdown
        self._world = world
        self._waiting = WaitingRoom()
        self._until_end: list[int] = []  # tickets of those who wait for the daemon's end

    def ask(self, ticket: int, ask: Ask) -> Answer | None:
        """Answer at once, or later under the same ticket."""
        match ask.verb:
            case "status":
                return self._status(ask)
            case "reload":
                return self.reload()
            case "shutdown":
                self._shutdown.ask(f"asked by uid {ask.peer.uid}")
                return self._see_end(ticket, ask)
            case "start" | "stop" | "restart":
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
        services, now_ns = self._supervisor.services, self._world.clock()
        self._waiting.settled(
            services, now_ns, lambda ticket, waiting: self.say(ticket, self._outcome(waiting))
        )

    def end(self) -> None:
        """Answer who waited for the daemon's end; nothing of it is left but this."""
        for ticket in self._until_end:
            self.say(ticket, Answer(200, {"schema": ACTION_SCHEMA, "items": []}))

    def reload(self) -> Answer:
        """Follow the configuration's file as it is now; a bad one changes nothing."""
        if self._shutdown.phase is not Phase.UP:
            return refusal(409, "ending", "cannot reload: the daemon is shutting down")
        try:
            new = load(self.config.source)
        except ReaperdError as error:
            self._world.log("daemon.reload_refused", problem=error.message, hint=error.hint)
            return refusal(422, "configuration", error.message, "nothing was changed; mend the file")
        difference = reload.apply(self._supervisor, self.config, new)
        self.config = new
        items = [
            {"name": name, "change": change}
            for change in ("added", "changed", "removed", "unchanged")
            for name in getattr(difference, change)
        ]
        self._world.log(
            "daemon.reloaded",
            added=difference.added,
            changed=difference.changed,
            removed=difference.removed,
            needs_restart=difference.daemon,
        )
        body = {"schema": RELOAD_SCHEMA, "items": items, "needs_restart": difference.daemon}
        return Answer(200, body)

    def _status(self, ask: Ask) -> Answer:
        services = self._supervisor.services
        names = self._named(ask)
        if isinstance(names, Answer):
            return names
        self._supervisor.look()
        rows = status.rows([services[name] for name in names], self._world.timers, self._world.clock())
        body = {"schema": status.SCHEMA, "items": rows, "unclaimed": self._world.children.unclaimed()}
        return Answer(200, body)

    def _act(self, ticket: int, ask: Ask) -> Answer | None:
        names = self._named(ask)
        if isinstance(names, Answer):
            return names
        if self._shutdown.phase is not Phase.UP and ask.verb != "stop":
            return refusal(409, "ending", f"cannot {ask.verb}: the daemon is shutting down")
        match ask.verb:
            case "start":
                self._supervisor.start(names)
            case "stop":
                self._supervisor.stop(reversed(names))
            case _:
                self._supervisor.restart(names)
        waiting = Waiting(ask.verb, names)
        if ask.wait:
            self._waiting.enter(ticket, waiting, self._world.clock())
            return None
        self._supervisor.settle()
        return self._outcome(waiting)

    def _named(self, ask: Ask) -> tuple[str, ...] | Answer:
        services = self._supervisor.services
        if not ask.names or ask.names == (EVERY,):
            return tuple(services)
        unknown = next((name for name in ask.names if name not in services), None)
        return ask.names if unknown is None else unknown_service(unknown, services)

    def _outcome(self, waiting: Waiting) -> Answer:
        services = self._supervisor.services
        present = [services[name] for name in waiting.names if name in services]
        rows = {row["name"]: row for row in status.rows(present, self._world.timers, self._world.clock())}
        items = [
            {
                "name": name,
                "ok": is_well(waiting.verb, services.get(name)),
                "state": rows[name]["state"] if name in rows else None,
                "why": rows[name]["why"] if name in rows else "no longer configured",
            }
            for name in waiting.names
        ]
        return Answer(200, {"schema": ACTION_SCHEMA, "items": items})

    def _see_end(self, ticket: int, ask: Ask) -> Answer | None:
        if not ask.wait:
            return Answer(202, {"schema": ACTION_SCHEMA, "items": []})
        self._until_end.append(ticket)
        return None


def _nobody_listens(ticket: int, answer: Answer) -> None:
    del ticket, answer
