"""Run one function of a test file and write what it returns as JSON: see processes.py."""

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location


def main(path: str, name: str, result: str, arguments: str) -> None:
    """Call `name` of the file `path` with JSON `arguments`; `result` is the descriptor for its answer."""
    spec = spec_from_file_location("scenario", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = module_from_spec(spec)
    sys.modules["scenario"] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    fd = int(result)
    os.set_inheritable(fd, False)
    answer = getattr(module, name)(*json.loads(arguments))
    assert os.getpid() == 1 or not has_children(), f"{name} left children behind"
    os.write(fd, json.dumps(answer).encode())


def has_children() -> bool:
    """Tell whether this process has a child, living or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
