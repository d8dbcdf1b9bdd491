"""The declared variants of a proxy: every combination of its options' choices."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from jaxproxy.meters import ACTIVATIONS, PARAMETERS
from jaxproxy.proxies._proxy import Proxy
from jaxproxy.proxies._table import PROXIES, parse_proxy

#: Options that name a group of taps, wherever they occur.
_GROUPS = {"layers": tuple(ACTIVATIONS), "params": tuple(PARAMETERS)}


class Variant(NamedTuple):
    """One combination of the options that have declared choices.

    Attributes:
      proxy: named by those options that differ from their default.
      options: option -> its choice, for all of them.
    """

    proxy: Proxy
    options: dict[str, str]


def choices(factory: Callable[..., Proxy]) -> dict[str, tuple[str, ...]]:
    """Option -> its choices, for the options of a proxy that have finitely many.

    Those are options annotated as a ``Literal`` of strings, and the options ``layers``
    and ``params``, which name groups of taps. A tuple of taps is no declared choice.
    """
    hints, found = get_type_hints(factory), {}
    for option in inspect.signature(factory).parameters:
        values: tuple[Any, ...] = _GROUPS.get(option, ())
        if get_origin(hints.get(option)) is Literal:
            values = get_args(hints[option])
        if values and all(isinstance(value, str) for value in values):
            found[option] = values
    return found


def variants(proxy: str | Callable[..., Proxy]) -> list[Variant]:
    """Every declared variant of a proxy; options that are written stay as they are.

    Args:
      proxy: as :func:`~jaxproxy.proxies.parse_proxy` reads it, such as ``"intrain"`` or
        ``"intrain(dead=live)"``; or a factory of one's own, all of whose options have
        defaults.

    Raises:
      ValueError: no such proxy, or no option with declared choices is left.
    """
    if isinstance(proxy, str):
        text, table = proxy, PROXIES
    else:
        text = proxy().name.partition("(")[0]
        table = {text: proxy}
    name, _, label = parse_proxy(text, table).name.partition("(")
    given = dict(item.split("=") for item in label.rstrip(")").split(",") if item)
    signature = inspect.signature(table[name]).parameters
    free = {o: c for o, c in choices(table[name]).items() if o not in given}
    if not free:
        raise ValueError(f"{text!r} has no option with declared choices left to vary")
    found = []
    for values in itertools.product(*free.values()):
        options = dict(zip(free, values, strict=True))
        changed = {o: v for o, v in options.items() if v != signature[o].default}
        written = ",".join(f"{o}={v}" for o, v in (given | changed).items())
        found.append(Variant(parse_proxy(f"{name}({written})", table), given | options))
    return found
