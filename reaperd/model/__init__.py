"""Processes, threads, process groups and sessions in memory, as Linux has them, without touching any.

By itself a model of fork, exit and wait, setsid and setpgid, with orphans and subreapers:

    init = Process.new_init(1).build()
    shell = init.fork(2).data("anything").build()
    session, group = shell.create_session() or (None, None)
    shell.exit()
    pid, status = init.wait(2) or (0, 0)

`ProcessTable` keeps such a tree in step with real processes, fed with observations, and says what changed.
Nothing here reads a file, a clock or a signal.
"""

from reaperd.model.changes import (
    Adopted,
    Change,
    Execed,
    Exited,
    Forked,
    GroupChanged,
    Identified,
    Left,
    Reaped,
    Renamed,
    Reparented,
    SessionChanged,
    ThreadEnded,
    ThreadStarted,
)
from reaperd.model.errors import (
    CycleError,
    IdTakenError,
    InitCannotExitError,
    ModelError,
    NotAliveError,
    NotTrackedError,
    NotZombieError,
    ThreadsAliveError,
    TreeGoneError,
    WouldSleepError,
)
from reaperd.model.group import ProcessGroup
from reaperd.model.process import Process, ProcessBuilder
from reaperd.model.session import Session
from reaperd.model.snapshot import ProcessKey, Seen
from reaperd.model.table import ProcessTable, Who
from reaperd.model.thread import Thread, ThreadBuilder
from reaperd.model.wait import Waited

__all__ = [
    "Adopted",
    "Change",
    "CycleError",
    "Execed",
    "Exited",
    "Forked",
    "GroupChanged",
    "IdTakenError",
    "Identified",
    "InitCannotExitError",
    "Left",
    "ModelError",
    "NotAliveError",
    "NotTrackedError",
    "NotZombieError",
    "Process",
    "ProcessBuilder",
    "ProcessGroup",
    "ProcessKey",
    "ProcessTable",
    "Reaped",
    "Renamed",
    "Reparented",
    "Seen",
    "Session",
    "SessionChanged",
    "Thread",
    "ThreadBuilder",
    "ThreadEnded",
    "ThreadStarted",
    "ThreadsAliveError",
    "TreeGoneError",
    "Waited",
    "Who",
    "WouldSleepError",
]
