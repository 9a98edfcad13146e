"""One configured service and what is known of its life at this moment."""

from dataclasses import dataclass

from reaperd.config.spec import ServiceSpec
from reaperd.policy.decide import RESTING
from reaperd.policy.words import NotSpawned, Run, State, Want


@dataclass(slots=True)
class Service:
    """Plain data: what a record could hold, so that it can be written down and read back.

    Attributes:
        spec: what the current run follows.
        run: its life as policy sees it.
        since_wall_ns: when its state changed last, by the wall clock as that stood then.
        next_spec: what the next run follows, after a reload changed it.
        leaving: it is no longer configured and goes once it is down.
        again: it is on its way down only to start once more, by its next spec.
        run_id: the current run's marker, None while no process of it is left.
        latest: the pid of the latest main process; may be another process's by now.
        main: the main process's pid while that is not reaped.
        report_fd: where the child says whether its exec worked, until it has said so.
        not_spawned: the stage that failed, from the child's report until the child is reaped.
        stuck: a kill that found new processes again and again.
        named_main: the process that said, or of which was said, that it is the main one from now on.
        watchdog_ns: how often this run says that it lives, where it asked for another time than its spec's.
        announced: what it says that it is doing: "reloading" or "stopping".
        unkillable: what is known of a process of it that does not end by SIGKILL, as of the latest look.
        said: what it last said of its own state, for people: STATUS of sd_notify(3).
        unready: what this run was last seen to lack for being ready.
        next_run_ns: when its schedule is due, by the wall clock as that stands; None where none is armed.
        dropped: lines of its output that were dropped since the daemon started, because where they go failed.
        zombies: how many zombies stay under it, as of the latest look; None where nobody looks.
        unlimited: which limits of its control group have no effect, and why, as of its latest run.
        told_holds: the names that were last said to hold it, while WAITING.
    """

    spec: ServiceSpec
    run: Run
    since_wall_ns: int = 0
    next_spec: ServiceSpec | None = None
    leaving: bool = False
    again: bool = False
    run_id: str | None = None
    latest: int | None = None
    main: int | None = None
    report_fd: int | None = None
    not_spawned: NotSpawned | None = None
    stuck: bool = False
    named_main: int | None = None
    watchdog_ns: int | None = None
    announced: str | None = None
    unkillable: str | None = None
    said: str | None = None
    unready: str | None = None
    next_run_ns: int | None = None
    unlimited: str | None = None
    told_holds: tuple[str, ...] = ()
    dropped: int = 0
    zombies: int | None = None

    def at_rest(self) -> bool:
        """Tell whether nothing of it runs or is going to by itself."""
        return self.run.state in RESTING

    def is_going_down(self) -> bool:
        """Tell whether it is being stopped and is wanted to stay down: asking for that again hurries it."""
        return self.run.state is State.STOPPING and self.run.want is Want.DOWN and not self.again

    def forget_words(self) -> None:
        """Forget what the last run said of itself, or was seen to lack."""
        self.said = self.announced = self.unready = self.named_main = self.watchdog_ns = None

    def take_next_spec(self) -> None:
        """Follow the spec that a reload brought, if any."""
        if self.next_spec is not None:
            self.spec, self.next_spec = self.next_spec, None
