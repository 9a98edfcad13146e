"""Who may ask for what: each verb needs a right, and the kernel tells whose request it is.

Rights are ordered: who may operate may also read. In this form root and the daemon's own user have every
right and nobody else has any; rights per user and group fit in `right_of` without a change elsewhere.
"""

import os
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from reaperd.control.words import Answer, Verb, refusal
from reaperd.kernel.credentials import Peer


class Right(IntEnum):
    """What a peer may do; a greater one includes the lesser."""

    NONE = 0
    READ = 1
    OPERATE = 2
    ADMIN = 3


NEEDS: Final[Mapping[Verb, Right]] = {
    "status": Right.READ,
    "why": Right.READ,
    "tree": Right.READ,
    "start": Right.OPERATE,
    "stop": Right.OPERATE,
    "restart": Right.OPERATE,
    "scale": Right.OPERATE,
    "reload-services": Right.OPERATE,
    "reload": Right.ADMIN,
    "shutdown": Right.ADMIN,
}


def right_of(peer: Peer, owner_uid: int | None = None) -> Right:
    """Return what `peer` may do to a daemon that runs as `owner_uid`, this process's own where None."""
    owner = os.geteuid() if owner_uid is None else owner_uid
    return Right.ADMIN if peer.uid in (0, owner) else Right.NONE


def denied(peer: Peer, what: str) -> Answer:
    """Return the refusal for a peer that lacks the right to `what`, a verb in plain words."""
    return refusal(
        403,
        "forbidden",
        f"cannot {what}: user {peer.uid} has no right to",
        "ask as root, or as the user whom the daemon runs as",
    )
