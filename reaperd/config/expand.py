"""Expand variables in commands and environments: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.

There is no other magic: a `$` before anything else is a `$`, and a value is never split or expanded again.
"""

from typing import Final

from reaperd.config.report import Lookup
from reaperd.units import shown

_FIRST: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_REST: Final = _FIRST | frozenset("0123456789")


def expand(text: str, variables: Lookup) -> str:
    """Return `text` with its variables replaced; as in a shell, a default also stands in for an empty value.

    Raises:
        ValueError: a variable that is not set and has no default, or a form that is not one of ours.
    """
    parts = []
    while True:
        before, dollar, rest = text.partition("$")
        parts.append(before)
        if not dollar:
            return "".join(parts)
        if rest.startswith("$"):
            parts.append("$")
            text = rest[1:]
        elif rest.startswith("{"):
            inner, brace, text = rest[1:].partition("}")
            if not brace:
                raise ValueError(f'holds "${{" without a "}}": {shown("$" + rest)}; write "$$" for a dollar')
            parts.append(_value(inner, variables))
        else:
            parts.append("$")
            text = rest


def _value(inner: str, variables: Lookup) -> str:
    name, has_default, default = inner.partition(":-")
    if not name or name[0] not in _FIRST or not set(name) <= _REST:
        forms = 'allowed: "${NAME}" and "${NAME:-default}", and "$$" for a dollar'
        raise ValueError(f"holds {shown('${' + inner + '}')}; {forms}")
    if "$" in default:
        raise ValueError(f"holds {shown('${' + inner + '}')}, and a default is not expanded; leave the $ out")
    value = variables(name)
    if has_default:
        return value or default
    if value is None:
        raise ValueError(
            f'needs the variable {name}, which is not set; set it, or write "${{{name}:-default}}"'
        )
    return value
