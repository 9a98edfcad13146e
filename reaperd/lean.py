"""Import first what everybody here uses of the standard library, without what that brings and nobody uses.

`dataclasses` imports inspect, to write a docstring for classes that have none; ours have theirs.
`urllib.parse`, and `pathlib` by it, imports ipaddress, to check addresses in brackets. Whoever calls one of
them after all gets it, dataclasses and urllib included: see `deferred`.

For programs that start, before they import anything else of ours; a library is imported as it comes.
"""

from reaperd.deferred import deferred

with deferred("inspect"):
    import dataclasses  # noqa: F401 - the others find it loaded
with deferred("ipaddress"):
    import urllib.parse  # noqa: F401 - the same
