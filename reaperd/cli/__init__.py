"""The command line: one file per command, one for rendering."""

from reaperd import lean  # noqa: F401 - before all that follows
from reaperd.deferred import deferred


def cleandoc(doc: str) -> str:
    """Return a docstring without its indentation, as `inspect.cleandoc` does, without the rest of that."""
    first, *rest = doc.expandtabs().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    lines = [first.lstrip(), *(line[margin:] for line in rest)]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines)


# Here, for it must come before every other import of click.
with deferred("inspect", cleandoc=cleandoc):
    import click  # noqa: F401
