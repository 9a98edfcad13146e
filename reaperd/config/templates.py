"""Put a service's keys over those of the template that it uses."""

from collections.abc import Mapping

from reaperd.config.report import Merged, Site
from reaperd.config.table import Key


def merged(
    below: Mapping[str, object],
    below_site: Site,
    above: Mapping[str, object],
    above_site: Site,
    keys: tuple[Key, ...],
) -> Merged:
    """Return both tables as one, in which `above` wins.

    Tables of independent keys, such as `environment` and `backoff`, become one in the same way. What is one
    choice among several, such as `ready`, is replaced whole.
    """
    merging = {key.name: key.kind for key in keys if key.kind.merges}
    result = Merged()
    for name, value in below.items():
        result.put(name, value, below_site.inside(below, name))
    for name, value in above.items():
        here = above_site.inside(above, name)
        under = below.get(name)
        if name in merging and isinstance(under, dict) and isinstance(value, dict):
            below_here = below_site.inside(below, name)
            result.put(name, merged(under, below_here, value, here, merging[name].keys), here)
        else:
            result.put(name, value, here)
    return result
