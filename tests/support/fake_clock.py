"""A clock that stands still until it is told to go on."""


class FakeClock:
    """Call it for the time in nanoseconds, as one calls `time.monotonic_ns`."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    def advance(self, by_ns: int) -> None:
        """Let time pass."""
        assert by_ns >= 0, "CLOCK_MONOTONIC never goes back"
        self.now_ns += by_ns
