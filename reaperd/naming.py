"""Who is meant: from the words that a user names services by to the services themselves.

A word is, in this order, the full name of a service (`web`, `web:1`), the name in the file of one with
instances (`web`, for all of them), or a group (`backend`): the configuration sees to it that none of these is
called like another. What holds `*`, `?` or `[` is none of them, since no name can: it is a pattern, and means
all services whose full name it matches, as a shell would match it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Final

from reaperd.config.spec import EVERY, ServiceSpec
from reaperd.control.words import LISTED, Answer, did_you_mean, refusal, unknown_service

_MAGIC: Final = frozenset("*?[")
_LONGEST: Final = 256  # characters of a pattern
_MOST_PATTERNS: Final = 64  # in one request: each is matched with every service


def is_pattern(word: str) -> bool:
    """Tell whether a word is a pattern rather than a name."""
    return not _MAGIC.isdisjoint(word)


def resolve(
    asked: Sequence[str], specs: Mapping[str, ServiceSpec], bases: Iterable[str]
) -> tuple[str, ...] | Answer:
    """Return the full names of the services that are meant, each once, or the refusal of who means nothing.

    Args:
        asked: words; none, or the single one `EVERY`, for every service.
        specs: the services by full name, in the order of the configuration.
        bases: names of those that have instances, be it none at the moment.
    """
    if not asked or tuple(asked) == (EVERY,):
        return tuple(specs)
    if sum(map(is_pattern, asked)) > _MOST_PATTERNS:
        return refusal(400, "bad-request", f"cannot match more than {_MOST_PATTERNS} patterns at once")
    known = _words(specs, bases)
    meant: dict[str, None] = {}
    for word in asked:
        found = _matching(word, specs) if is_pattern(word) else known.get(word)
        if found is None:
            return _unknown(word, known)
        meant.update(dict.fromkeys(found))
    return tuple(meant)


def filter_of(asked: Sequence[str]) -> Callable[[ServiceSpec], bool]:
    """Return what tells whether a service is among those meant; it holds for services that come later too."""
    words = frozenset(asked)
    patterns = [_compiled(word) for word in asked if is_pattern(word)][:_MOST_PATTERNS]

    def is_meant(spec: ServiceSpec) -> bool:
        if not words or not words.isdisjoint({EVERY, spec.name, spec.base, *spec.groups}):
            return True
        return any(pattern.match(spec.name) for pattern in patterns)

    return is_meant


def _words(specs: Mapping[str, ServiceSpec], bases: Iterable[str]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {base: [] for base in bases}
    for name, spec in specs.items():
        for word in {name, spec.base or name, *spec.groups}:
            known.setdefault(word, []).append(name)
    return known


def _matching(word: str, specs: Iterable[str]) -> list[str] | None:
    pattern = _compiled(word)
    return [name for name in specs if pattern.match(name)] or None


def _compiled(word: str) -> re.Pattern[str]:
    # Not fnmatchcase: that keeps 32,768 patterns, whatever strangers ask for.
    return re.compile(translate(word[:_LONGEST]))


def _unknown(word: str, known: Iterable[str]) -> Answer:
    if not is_pattern(word):
        return unknown_service(word, known)
    shown = word if len(word) <= 64 else f"{word[:64]}..."
    plain = "".join(char for char in word if char not in "*?[]")
    hint = did_you_mean(plain, known) or LISTED
    return refusal(404, "unknown-service", f'cannot find a service that matches "{shown}"', hint)
