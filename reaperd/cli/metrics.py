"""reaperd metrics: what monitoring reads."""

from pathlib import Path

import click

from reaperd.cli.command import Command, client, socket_option
from reaperd.cli.render import put
from reaperd.errors import Exit


@click.command(
    cls=Command,
    exits="0: shown. 69: no daemon.",
    examples=("reaperd metrics", "reaperd metrics --prometheus > /var/lib/node_exporter/reaperd.prom"),
)
@click.option("--prometheus", is_flag=True, help="In the older format, which a textfile collector takes.")
@socket_option
def metrics(*, prometheus: bool, socket: Path | None) -> int:
    """Print what the daemon counts, in OpenMetrics: the same as its address /metrics."""
    accept = "text/plain" if prometheus else "application/openmetrics-text"
    put(client(socket).text("metrics", Accept=accept))
    return Exit.OK
