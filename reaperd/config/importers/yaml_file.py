"""Read YAML as plain data, in bounds: a short text can mean a huge one, by names for parts of it.

The library is an extra: whoever imports no compose file does without it.
"""

import re
from pathlib import Path
from typing import Any, Final

from reaperd.config.importers.draft import refuse
from reaperd.errors import ReaperdError

_RESOLVED_OTHERWISE: Final = frozenset({"bool", "int", "timestamp"})
_BOOLEAN: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_MOST_ALIASES: Final = 1000
_MOST_PAIRS: Final = 10_000  # of one mapping, with what is merged into it


def load(text: str, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return what a YAML text holds; parts that are named again are shared, not copied.

    Raises:
        ReaperdError: the library is not there.
        ConfigError: it is malformed, or in a form that could become too large.
    """
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ReaperdError(
            "cannot read a compose file: the package PyYAML is not installed",
            hint="pip install 'reaperd[compose]'; on Debian: apt-get install python3-yaml",
        ) from error

    class Loader(yaml.SafeLoader):
        """Plain data only, bounded, and as YAML 1.2 has it: `no` is a word, and so are dates and 22:22."""

        aliases = 0
        yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own way
            first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in _RESOLVED_OTHERWISE]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            """Count the names for parts of the text."""
            if self.check_event(yaml.events.AliasEvent):
                self.aliases += 1
                if self.aliases > _MOST_ALIASES:
                    raise refuse(path, f"has too many aliases; at most {_MOST_ALIASES} are allowed")
            return super().compose_node(parent, index)

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Bound what is merged into a mapping by `<<`."""
            super().flatten_mapping(node)
            if len(node.value) > _MOST_PAIRS:
                raise refuse(path, f"has too large a mapping; at most {_MOST_PAIRS} keys are allowed")

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOLEAN, list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise refuse(f"{path}{line}", f"is not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise refuse(path, "is not valid YAML: it holds characters that may not be there") from error
    except (RecursionError, ValueError, OverflowError, TypeError) as error:
        # Nested too deeply; a number of thousands of digits, or a date that there is not.
        raise refuse(path, f"cannot be read: {type(error).__name__} within a value") from error
