"""What the commands share: examples in their help, and the options that several of them have."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from reaperd.cli.render import cell, items_of, printable
from reaperd.errors import ReaperdError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from reaperd.control.client import Client
    from reaperd.control.place import Tcp

_Function = TypeVar("_Function", bound=Callable[..., Any])  # Any: click passes what the options say


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # click's own, handed through
        examples: Sequence[str],
        exits: str | None = None,
        **kwargs: Any,  # noqa: ANN401  # the same
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.exits = exits

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses and the examples."""
        super().format_epilog(ctx, formatter)
        if self.exits:
            with formatter.section("Exit status"):
                formatter.write_text(self.exits)
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


# Whether a path may be read is for whoever reads it to say, in words that fit and with a hint.
PATH: Final = click.Path(path_type=Path, readable=False)

# How long a shell may have to wait for names: whoever typed the key sees nothing until then.
_PATIENCE_S: Final = 0.5

_TCP: Final = "reaperd.tcp"  # in the context's meta: what the options say
_KEY_FILE: Final = "reaperd.file"


class _PlaceType(click.ParamType[Path | None]):
    """A path, or `tcp://HOST:PORT`, which is put aside for `client`: commands hand on paths alone."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path | None:
        if not isinstance(value, str) or not value.startswith("tcp://"):
            return Path(str(value))
        # Imported here: half of the commands ask no daemon, and do without the libraries of HTTP.
        from reaperd.control.place import tcp_place  # noqa: PLC0415

        try:
            place = tcp_place(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        assert ctx is not None, "options have one"
        ctx.meta[_TCP] = place
        return None


def _note_token_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    del param
    ctx.meta[_KEY_FILE] = value


_SOCKET: Final = click.option(
    "-s",
    "--socket",
    envvar="REAPERD_SOCKET",
    show_envvar=True,
    type=_PlaceType(),
    help="Where the daemon listens, or tcp://HOST:PORT; by default where one of this user does.",
)
_TOKEN: Final = click.option(
    "--token-file",
    envvar="REAPERD_TOKEN_FILE",
    show_envvar=True,
    type=PATH,
    expose_value=False,
    callback=_note_token_file,
    help="The file with the token that a daemon wants over TCP.",
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_WAIT: Final = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Return when all is settled, or at once."
)


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return a duration such as 500ms or 1m30s as seconds; a callback of options."""
    if value is None:
        return None
    from reaperd.units import parse_duration  # noqa: PLC0415  # only where an option is used

    try:
        return parse_duration(value) / 1e9
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return a time, or how long ago, in seconds since the epoch; a callback of options."""
    if value is None:
        return None
    try:
        return _moment(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter('write it like "10m" or "2026-11-20T16:00:00Z"', ctx, param) from error


def _moment(text: str) -> float:
    """Return the time that `text` means: a duration before now, or a time, local where it has no zone."""
    from datetime import UTC, datetime  # noqa: PLC0415  # only where an option is used

    from reaperd.units import parse_duration  # noqa: PLC0415  # the same

    try:
        found = time.time() - parse_duration(text) / 1e9
    except ValueError:
        found = datetime.fromisoformat(text).timestamp()
    return datetime.fromtimestamp(found, UTC).timestamp()  # or it is beyond all calendars


_TIMEOUT: Final = click.option(
    "--timeout",
    callback=seconds,
    default="5s",
    show_default=True,
    metavar="T",
    help="How long a process may take to stop or to end.",
)


def socket_option(function: _Function) -> _Function:
    """Add --socket and --token-file."""
    return _SOCKET(_TOKEN(function))


def json_option(function: _Function) -> _Function:
    """Add --json."""
    return _JSON(function)


def timeout_option(function: _Function) -> _Function:
    """Add --timeout."""
    return _TIMEOUT(function)


def wait_option(function: _Function) -> _Function:
    """Add --wait and --no-wait."""
    return _WAIT(function)


def client(socket: Path | None, timeout_s: float | None = None) -> "Client":
    """Return a client of the daemon at `socket`, by TCP, or of the one that this user would have.

    Raises:
        ReaperdError: there is no place where one could safely be.
    """
    # Imported here: half of the commands ask no daemon, and do without the libraries of HTTP.
    from reaperd.control.client import TIMEOUT_S, Client  # noqa: PLC0415
    from reaperd.control.place import read_token  # noqa: PLC0415

    patience_s = TIMEOUT_S if timeout_s is None else timeout_s
    context = click.get_current_context(silent=True)  # none where a shell completes
    meta = {} if context is None else context.meta
    place: Tcp | None = meta.get(_TCP)
    if place is not None:
        token_file: Path | None = meta.get(_KEY_FILE)
        return Client(place, patience_s, None if token_file is None else read_token(token_file))
    if socket is None:
        # Imported here: only needed where nothing was named, and it brings the user database.
        from reaperd.config.paths import default_socket  # noqa: PLC0415

        socket = default_socket()
    return Client(socket, patience_s)


def service_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the services that a shell may complete; none where no daemon tells them in time."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only where a shell asks

    del param
    try:
        with _patient():
            answer = client(ctx.params.get("socket"), _PATIENCE_S).ask("status")
    except (ReaperdError, OSError):
        return []
    named = {str(name) for name in ctx.params.get("names") or ()}
    return [
        CompletionItem(printable(name), help=cell(item.get("state")))
        for item in items_of(answer)
        if (name := str(item.get("name"))).startswith(incomplete) and name not in named
    ]


@contextmanager
def _patient() -> Iterator[None]:
    """Raise TimeoutError within, however slowly a daemon dribbles its answer."""

    def late(number: int, frame: object) -> None:
        del number, frame
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 2 * _PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
