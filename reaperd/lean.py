"""Import first what everybody here uses of the standard library, without what that brings and nobody uses.

`dataclasses` imports inspect, to write the signature of a class that has no docstring into one. Ours have
theirs; for those of libraries it writes `Name(...)`. `urllib.parse`, and `pathlib` by it, imports ipaddress,
to check addresses in brackets. Whoever calls one of them after all gets it: see `deferred`.

For programs that start, before they import anything else of ours; a library is imported as it comes.
"""

from reaperd.deferred import deferred


def _signature(_class: object) -> str:
    return "(...)"


with deferred("inspect", signature=_signature):
    import dataclasses  # noqa: F401 - the others find it loaded
with deferred("ipaddress"):
    import urllib.parse  # noqa: F401 - the same
