"""What an outlet holds, drops and says, with a place that takes what the test lets it take."""

import errno

from hypothesis import given
from hypothesis import strategies as st

from reaperd.output.outlet import Outlet


class Told:
    """Remembers what an outlet tells. Implements `output.outlet.Desk`."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.retries: list[int] = []

    def failing(self, outlet: Outlet, problem: str) -> None:
        """It fails."""
        del outlet
        self.troubles.append(problem)

    def recovered(self, outlet: Outlet, dropped: int) -> None:
        """It works."""
        del outlet
        self.troubles.append(f"dropped {dropped}")

    def retry(self, outlet: Outlet, after_ns: int) -> None:
        """It is to be tried again."""
        del outlet
        self.retries.append(after_ns)


class Place(Outlet):
    """Takes `room` bytes, then fails with `number`."""

    def __init__(self, buffer: int = 100) -> None:
        self.told = Told()
        super().__init__("place", self.told, buffer)
        self.room = 1 << 30
        self.number = errno.ENOSPC
        self.written = b""

    def _write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(self.number, "")
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.written += part
        return len(part)


def lines(first: int, last: int) -> bytes:
    """Return numbered lines of ten bytes."""
    return b"".join(b"%09d\n" % number for number in range(first, last + 1))


def test_a_full_disk_loses_nothing_while_there_is_room_in_the_buffer() -> None:
    """What was written in part goes on where it stopped."""
    place = Place()
    place.room = 15
    assert place.put(lines(1, 3)) == 0
    assert place.put(lines(4, 5)) == 0
    place.room = 1000
    place.flush()
    assert place.put(lines(6, 6)) == 0
    assert place.written == lines(1, 6)
    assert place.told.troubles == ["No space left on device", "dropped 0"]


def test_beyond_the_buffer_whole_lines_are_dropped_and_marked() -> None:
    """Written and dropped lines are all there were, and a line says where which of them are missing."""
    place = Place()
    place.room = 15
    assert place.put(lines(1, 20)) == 9  # 1 written, 2 begun: the rest of it and nine more fit
    assert place.put(lines(21, 22)) == 2
    assert place.dropped == 11
    place.room = 1000
    place.flush()
    place.put(lines(23, 23))
    marker = b"reaperd: 11 lines were dropped here: No space left on device\n"
    assert place.written == lines(1, 11) + marker + lines(23, 23)
    assert place.told.troubles[-1] == "dropped 11"


def test_a_begun_line_is_completed_though_the_buffer_is_smaller() -> None:
    """Half a line would make two lines one."""
    place = Place(buffer=4)
    place.room = 1
    assert place.put(lines(1, 2)) == 1
    place.room = 1000
    place.flush()
    assert place.written.startswith(lines(1, 1) + b"reaperd: 1 lines")


def test_it_is_tried_again_at_growing_intervals_up_to_two_seconds() -> None:
    """A failure is told once, however often it is tried again."""
    place = Place()
    place.room = 0
    place.put(lines(1, 1))
    for _ in range(10):
        place.flush()
    assert place.told.retries[:3] == [50_000_000, 100_000_000, 200_000_000]
    assert place.told.retries[-1] == 2_000_000_000
    assert len(place.told.troubles) == 1


def test_a_slow_place_drops_nothing() -> None:
    """It is full until it takes more; who would put more has to wait."""
    place = Place(buffer=1)
    place.room, place.number = 15, errno.EAGAIN
    assert place.put(lines(1, 30)) == 0
    states = [place.full]
    place.room = 1000
    place.flush()
    assert [*states, place.full] == [True, False]
    assert place.written == lines(1, 30)
    assert place.told.troubles == []


def test_what_is_held_at_the_end_is_counted() -> None:
    """Nobody will write it any more."""
    place = Place()
    place.room = 0
    place.put(lines(1, 12))
    assert place.close() == 12


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 60), st.sampled_from([errno.ENOSPC, errno.EAGAIN])),
        max_size=30,
    ),
    st.integers(1, 80),
)
def test_written_and_dropped_lines_are_all_lines(steps: list[tuple[int, int, int]], buffer: int) -> None:
    """Whatever a place takes and when, no line is doubled, split or missing without being counted."""
    place = Place(buffer)
    made = dropped = 0
    for count, room, number in steps:
        place.room, place.number = room, number
        place.flush()
        if not place.full:
            dropped += place.put(lines(made + 1, made + count))
            made += count
    place.room = 1 << 30
    place.flush()
    found = place.written.splitlines()
    marks = [line for line in found if line.startswith(b"reaperd: ")]
    numbers = [int(line) for line in found if not line.startswith(b"reaperd: ")]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + dropped == made
    assert sum(int(mark.split()[1]) for mark in marks) == dropped == place.dropped
    assert place.is_idle
