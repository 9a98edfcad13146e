import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.units import (
    MAX_DURATION_NS,
    MAX_SIZE,
    format_duration,
    format_signal,
    format_size,
    parse_duration,
    parse_signal,
    parse_size,
    shown,
    suggest,
)

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1m30s", 90 * SECOND),
        ("500ms", SECOND // 2),
        ("10s", 10 * SECOND),
        ("1d", 86_400 * SECOND),
        ("2h", 7_200 * SECOND),
        ("1w", 604_800 * SECOND),
        ("1.5h", 5_400 * SECOND),
        ("250us", 250_000),
        ("7ns", 7),
        ("0s", 0),
        ("10", 10 * SECOND),
        ("0.25", SECOND // 4),
        (10, 10 * SECOND),
        (0.1, SECOND // 10),
        ("36500d", MAX_DURATION_NS),
    ],
)
def test_durations_are_read(text: str | float, ns: int) -> None:
    """Units add up, and a bare number is seconds."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "fast",
        "10x",
        "1 m",
        "-1s",
        "30s1m",
        "1s1s",
        "1..5s",
        "1.s",
        ".5s",
        "0.1ns",
        "1m30",
        "\u0661s",
        "1" * 99,
    ],
)
def test_what_is_no_duration_says_what_is_allowed(text: str) -> None:
    """A text that is no duration is refused with examples of what is."""
    with pytest.raises(ValueError, match=r'is not a duration; write it like "500ms"'):
        parse_duration(text)


@pytest.mark.parametrize(
    "number", [-1, pytest.param(-(16**5000), id="huge"), -0.5, float("nan"), float("inf"), True]
)
def test_numbers_that_are_no_duration(number: float) -> None:
    """Negative numbers, NaN, infinity and booleans are no durations."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(number)


@pytest.mark.parametrize("text", ["36501d", "99999999w", 1e300, 10**12, pytest.param(16**5000, id="huge")])
def test_a_duration_has_an_upper_bound(text: str | float) -> None:
    """More than a century is refused, so that every duration fits the kernel's clock."""
    with pytest.raises(ValueError, match="too long; at most 36500d"):
        parse_duration(text)


@given(st.integers(0, MAX_DURATION_NS))
def test_durations_round_trip(ns: int) -> None:
    """What is printed is read back to the same nanosecond."""
    assert parse_duration(format_duration(ns)) == ns


def test_durations_print_short() -> None:
    """The printed form has no empty parts, and zero is written out."""
    assert [format_duration(ns) for ns in (0, 90 * SECOND, SECOND // 2, 864_000 * SECOND)] == [
        "0s",
        "1m30s",
        "500ms",
        "10d",
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("10MB", 10**7),
        ("1kb", 1000),
        ("1.5KiB", 1536),
        ("0", 0),
        ("7B", 7),
        (4096, 4096),
    ],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    """Binary and decimal units differ, case does not matter, a bare number is bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1M", "1MiB2", "-1", "1.5B", "1.5", "ten", -1, True, "9" * 99])
def test_what_is_no_size_says_what_is_allowed(text: str | int) -> None:
    """A value that is no size is refused with examples of what is."""
    with pytest.raises(ValueError, match=r'is not a size.*write it like "64MiB"'):
        parse_size(text)


def test_a_size_has_an_upper_bound() -> None:
    """A size that no file can have is refused."""
    with pytest.raises(ValueError, match="too large"):
        parse_size("8388608TiB")
    with pytest.raises(ValueError, match="this integer is too large"):
        parse_size(16**5000)


@given(st.integers(0, MAX_SIZE))
def test_sizes_round_trip(size: int) -> None:
    """What is printed is read back to the same byte."""
    assert parse_size(format_size(size)) == size


def test_sizes_print_in_the_largest_unit_that_divides_them() -> None:
    """A round number of mebibytes is printed as such, an odd one in bytes."""
    assert [format_size(size) for size in (0, 64 << 20, 10**7, 1025)] == ["0B", "64MiB", "10MB", "1025B"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        ("SIGTERM", signal.SIGTERM),
        ("sigterm", signal.SIGTERM),
        (15, signal.SIGTERM),
        ("15", signal.SIGTERM),
        ("CLD", signal.SIGCHLD),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals_are_read(text: str | int, number: int) -> None:
    """Names with and without SIG, aliases, real-time offsets and numbers are all read."""
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIG",
        "QUITE",
        "RTMIN+",
        "RTMIN+31",
        "RTMIN-1",
        "RTMAX-31",
        "RTMAX+1",
        "RTMIN+0x1",
        0,
        32,
        33,
        65,
        -1,
        "0",
        True,
    ],
)
def test_what_is_no_signal_says_what_is_allowed(text: str | int) -> None:
    """Unknown names, numbers out of range and libc's own two signals are refused with examples."""
    with pytest.raises(ValueError, match=r'is not a signal.*write it like "TERM"'):
        parse_signal(text)


def test_a_misspelt_signal_gets_a_suggestion() -> None:
    """The nearest known name is offered."""
    with pytest.raises(ValueError, match=r'did you mean "TERM"\?$'):
        parse_signal("SIGTREM")


@given(st.sampled_from(sorted(signal.valid_signals())))
def test_signals_round_trip(number: int) -> None:
    """What is printed is read back to the same signal."""
    assert parse_signal(format_signal(number)) == number


def test_signals_print_by_name() -> None:
    """Real-time signals count from SIGRTMIN, and one without a name still prints."""
    numbers = (15, signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX, 32)
    assert [format_signal(n) for n in numbers] == [
        "SIGTERM",
        "SIGRTMIN",
        "SIGRTMIN+3",
        "SIGRTMAX",
        "signal 32",
    ]


@pytest.mark.parametrize("number", [0, -1, 65, 1000])
def test_a_number_that_is_no_signal_is_not_printed(number: int) -> None:
    """A number outside the kernel's range is a caller's mistake."""
    with pytest.raises(ValueError, match="not a signal's number"):
        format_signal(number)


@pytest.mark.parametrize("printer", [format_duration, format_size])
def test_negative_numbers_are_not_printed(printer: object) -> None:
    """A negative duration or size is a caller's mistake."""
    assert callable(printer)
    with pytest.raises(ValueError, match="negative"):
        printer(-1)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends a reader in anything but a number or a ValueError without control characters."""
    for reader in (parse_duration, parse_size, parse_signal):
        try:
            assert reader(text) >= 0
        except ValueError as error:
            assert str(error).isprintable()  # noqa: PT017  # the property is about both outcomes


def test_suggestions_ignore_case_and_stay_silent_without_a_likely_word() -> None:
    """A near word is offered as it is spelt; a far one is not offered at all."""
    assert suggest("Restrat", ["restart", "user"]) == '; did you mean "restart"?'
    assert suggest("zzz", ["restart", "user"]) == ""


def test_shown_text_cannot_reach_a_terminal() -> None:
    """Control characters are spelt out and long texts cut, so that a message is one readable line."""
    assert shown("a\x1b[2J\n") == r'"a\x1b[2J\n"'
    assert shown("x" * 1000) == '"' + "x" * 64 + '..."'
    assert shown(2.5) == "2.5"
