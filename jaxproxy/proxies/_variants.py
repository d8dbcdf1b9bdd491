"""Proxies written as text, and the declared variants of one.

The variants of a proxy are all combinations of the choices of its options.
"""

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxproxy.options import choices_of, make, quoted
from jaxproxy.proxies._proxy import Proxy

Table = Mapping[str, Callable[..., Proxy]]


class Variant(NamedTuple):
    """One combination of the options that have declared choices.

    Attributes:
      proxy: named by those options that differ from their default.
      options: option -> its choice, for all of them.
    """

    proxy: Proxy
    options: dict[str, str | bool]


def make_proxy(text: str, table: Table) -> Proxy:
    """Returns the proxy of a text, named by the options that it gives.

    Raises:
      ValueError: unknown proxy, option or value, naming the choices.
    """
    made, name = make(text, table, "proxy")
    return dataclasses.replace(made, name=name)


def make_variants(text: str, table: Table) -> list[Variant]:
    """Returns every declared variant; options that are written stay as they are.

    Raises:
      ValueError: no such proxy, or no option with declared choices is left.
    """
    name, _, label = make_proxy(text, table).name.partition("(")
    given = dict(item.split("=") for item in label.rstrip(")").split(",") if item)
    parameters = inspect.signature(table[name]).parameters
    free = {o: c for o, c in choices_of(table[name]).items() if o not in given}
    if not free:
        raise ValueError(
            f"{quoted(text)} has no option with declared choices left to vary"
        )
    variants = []
    for values in itertools.product(*free.values()):
        options = dict(zip(free, values, strict=True))
        changed = {o: v for o, v in options.items() if v != parameters[o].default}
        written = ",".join(f"{o}={v}" for o, v in (given | changed).items())
        made = make_proxy(f"{name}({written})", table)
        variants.append(Variant(made, given | options))
    return variants
