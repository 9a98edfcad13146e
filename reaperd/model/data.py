"""What users of the model hang on a process or a thread: one value of each type."""

from typing import TypeVar

T = TypeVar("T")


class Carrier:
    """Something that carries values of its users' own types.

    The values stand in a tuple: most carriers hold none or one, where a tuple costs 40 or 48 bytes, a
    dictionary four times as much.
    """

    __slots__ = ("_data",)

    _data: tuple[object, ...]

    def __init__(self, data: tuple[object, ...]) -> None:
        self._data = ()
        for value in data:
            self.set_data(value)

    def data(self, kind: type[T]) -> T | None:
        """Return the value of this type, else one of a type derived from it, or None."""
        found = None
        for value in self._data:
            if type(value) is kind:
                return value
            if found is None and isinstance(value, kind):
                found = value
        return found

    def set_data(self, value: object) -> None:
        """Carry `value`, in place of the one of exactly its type if there was one."""
        self._data = (*(other for other in self._data if type(other) is not type(value)), value)

    def clear_data(self, kind: type[object]) -> None:
        """Carry no value of exactly this type any more."""
        self._data = tuple(value for value in self._data if type(value) is not kind)
