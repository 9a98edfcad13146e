"""reaperd import: turn another program's configuration into one of ours."""

from pathlib import Path
from typing import Final

import click

from reaperd.cli.command import PATH, Command, json_option
from reaperd.cli.render import printable, put, put_json
from reaperd.config.importers.choose import KINDS, import_file
from reaperd.errors import Exit

SCHEMA: Final = "reaperd.import/1"


@click.command(
    "import",
    cls=Command,
    exits=(
        "0: written; what could not be carried over is said. 1: the same with --strict, if there is any. "
        "78: the file cannot be used."
    ),
    examples=(
        "reaperd import /etc/supervisor/supervisord.conf > reaperd.toml",
        "reaperd import --from procfile Procfile.dev",
        "reaperd import docker-compose.yml > reaperd.toml && reaperd check reaperd.toml",
    ),
)
@click.argument("file", type=PATH)
@click.option("--from", "kind", type=click.Choice(KINDS), help="What FILE is, where its name does not tell.")
@click.option("--strict", is_flag=True, help="Fail where something could not be carried over.")
@json_option
def import_(file: Path, *, kind: str | None, strict: bool, as_json: bool) -> int:
    """Turn a supervisord.conf, a Procfile or a compose file into a configuration, printed as TOML.

    What could not be carried over, or not quite, is a comment where it belongs and a line on standard error.
    A compose file needs the package PyYAML: pip install 'reaperd[compose]'. Nothing is run or changed.
    """
    text, lost = import_file(file, kind)
    if as_json:
        items = [{"where": each.where or None, "what": each.what} for each in lost]
        put_json({"schema": SCHEMA, "items": items, "configuration": text})
    else:
        put(text)
        for each in lost:
            where = f"{printable(each.where)}: " if each.where else ""
            click.echo(f"{printable(str(file))}: not carried over: {where}{printable(each.what)}", err=True)
    return Exit.FAILED if strict and lost else Exit.OK
