"""Modules that a library imports and we never use: loaded when something of them is asked for.

structlog imports asyncio, and with it ssl, for loggers that are awaited; click imports inspect, and with it
the compiler's syntax trees, to take the indentation off texts. `lean` has more of them.
`importlib.util.LazyLoader` cannot do this before Python 3.12: there the import statement itself asks for
`__spec__`, which loads the module.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class _Deferred(ModuleType):
    """Stands where a module will be, until an attribute of it is asked for that it has not got."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def deferred(name: str, **known: object) -> Iterator[None]:
    """Let `import NAME` within the block load nothing yet; imports after the block are as ever.

    Args:
        name: a module of the top level; one that is loaded already stays as it is.
        known: attributes that need not wait for the module.
    """
    if name in sys.modules:
        yield
        return
    stand_in = _Deferred(name)
    vars(stand_in).update(known)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
