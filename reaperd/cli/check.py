"""reaperd check: read a configuration as the daemon would, and report every problem it has."""

from pathlib import Path

import click

from reaperd.cli.command import PATH, Command, json_option
from reaperd.cli.render import printable, put, put_json
from reaperd.config.parse import load
from reaperd.config.resolved import resolved
from reaperd.errors import ConfigError, Exit, Problem


@click.command(
    cls=Command,
    exits="0: it can be used. 78: it cannot.",
    examples=(
        "reaperd check /etc/reaperd.toml",
        "reaperd check --json reaperd.toml",
        "reaperd check --schema > reaperd.schema.json",
    ),
)
@click.argument("file", type=PATH, required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of configurations, for editors.")
@json_option
def check(file: Path | None, *, schema: bool, as_json: bool) -> int:
    """Read the configuration FILE as the daemon would, and report every problem it has.

    With --json it prints the whole configuration as it is understood: variables expanded, defaults filled
    in, templates and instances resolved.
    """
    if schema:
        from reaperd.config.schema import schema as schema_of_files  # noqa: PLC0415 - only needed here

        put_json(schema_of_files())
        return Exit.OK
    if file is None:
        raise click.UsageError("name the FILE to check")
    try:
        config = load(file)
    except ConfigError as error:
        if not as_json:
            raise
        put_json({"schema": "reaperd.check/1", "items": [_item(problem) for problem in error.problems]})
        return error.exit_status
    if as_json:
        put_json({"schema": "reaperd.check/1", "items": [], "configuration": resolved(config)})
    else:
        count = len(config.services)
        put(f"{printable(str(file))}: {count} service{'' if count == 1 else 's'}, no problem\n")
    return Exit.OK


def _item(problem: Problem) -> dict[str, object]:
    return {"where": problem.where, "path": problem.path or None, "what": problem.what}
