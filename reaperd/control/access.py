"""Who may do what: three rights, each with those below it, and who has which.

Over the Unix socket the kernel says who asks, as of the moment of its connect(2): user, group and
supplementary groups (SO_PEERCRED and SO_PEERGROUPS, unix(7)). Root and the daemon's own user have every
right, for they could take it anyway. Over TCP a token says it. Which right a request needs stands in the
table of routes, and there alone.
"""

import os
from enum import IntEnum
from typing import Protocol

from reaperd.config.daemon_spec import Control
from reaperd.control.words import Answer, Caller, Remote, name_of, refusal
from reaperd.kernel.credentials import Peer


class Right(IntEnum):
    """What somebody may do; a greater one includes the lesser."""

    NONE = 0
    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """What the configuration calls it."""
        return self.name.lower()


class TokenBook(Protocol):
    """Tells what right a token gives."""

    def right_of(self, presented: bytes) -> Right:
        """Return it, NONE for an unknown token."""


class Access:
    """Tell the rights of callers.

    Args:
        control: to whom the configuration gives which.
        tokens: of those who come over TCP; None where nobody can.
        owner_uid: whom the daemon runs as, this process's own effective user where None.
    """

    def __init__(
        self, control: Control | None = None, tokens: TokenBook | None = None, owner_uid: int | None = None
    ) -> None:
        self._tokens = tokens
        self._users: dict[int, Right] = {}
        self._groups: dict[int, Right] = {}
        given = control or Control()
        for right, grants in (
            (Right.READ, given.read),
            (Right.OPERATE, given.operate),
            (Right.ADMIN, given.admin),
        ):  # the greater ones last, so that they stay
            for grant in grants:
                if grant.uid is not None:
                    self._users[grant.uid] = right
                if grant.gid is not None:
                    self._groups[grant.gid] = right
        self._users[0] = self._users[os.geteuid() if owner_uid is None else owner_uid] = Right.ADMIN

    def of_peer(self, peer: Peer) -> Right:
        """Return what somebody on this machine may do: the most that user or any group of its has."""
        groups = (self._groups.get(gid, Right.NONE) for gid in (peer.gid, *peer.groups))
        return max(self._users.get(peer.uid, Right.NONE), *groups)

    def of(self, caller: Caller, authorization: str | None = None) -> Right | Answer:
        """Return what a caller may do, or the answer to one over TCP without a token that we know.

        `authorization` is the header of that name.
        """
        if isinstance(caller, Peer):
            return self.of_peer(caller)
        if authorization is None:
            return _unauthorized("no token", 'Bearer realm="reaperd"')
        scheme, _, token = authorization.strip().partition(" ")
        right = Right.NONE
        if scheme.lower() == "bearer" and self._tokens is not None:
            right = self._tokens.right_of(token.strip().encode("latin-1", "replace"))
        if right is Right.NONE:
            return _unauthorized("unknown token", 'Bearer realm="reaperd", error="invalid_token"')
        return right


def denied(caller: Caller, what: str, *, has: Right, needs: Right) -> Answer:
    """Return the refusal for a caller that lacks the right to `what`, a verb in plain words."""
    if isinstance(caller, Remote):
        has_now = f'your token gives "{has.word}"'
        hint = f"use a token that gives it; daemon.control.token_file has lines like: {needs.word} TOKEN"
    else:
        has_now = f"{name_of(caller)} has " + ("none" if has is Right.NONE else f'"{has.word}"')
        hint = f"ask as root, or put {name_of(caller)} or a group of its into daemon.control.{needs.word}"
    return refusal(403, "forbidden", f'cannot {what}: that takes the right "{needs.word}"; {has_now}', hint)


def _unauthorized(why: str, challenge: str) -> Answer:
    message = f"cannot tell who you are: {why}"
    hint = "send a token: Authorization: Bearer TOKEN; with reaperd: --token-file, REAPERD_TOKEN_FILE"
    answer = refusal(401, "unauthorized", message, hint)
    return Answer(answer.status, answer.body, (("WWW-Authenticate", challenge),))
