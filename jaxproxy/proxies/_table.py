"""Every proxy by name, and variants written as text."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from jaxproxy.proxies._counts import macs, params
from jaxproxy.proxies._epsinas import epsinas
from jaxproxy.proxies._intrain import capacity, intrain
from jaxproxy.proxies._proxy import Proxy
from jaxproxy.proxies._readings import participation, variance

__all__ = ["PROXIES", "parse_proxy"]

PROXIES: dict[str, Callable[..., Proxy]] = {
    "capacity": capacity,
    "intrain": intrain,
    "epsinas": epsinas,
    "params": params,
    "macs": macs,
    "participation": participation,
    "variance": variance,
}


def parse_proxy(text: str) -> Proxy:
    """The proxy of ``"intrain"`` or ``"intrain(layers=relu,dead=live)"``.

    A variant's name lists the options given, in the order of the signature. Numbers in
    a tuple are joined by ``:``, as in ``epsinas(mode=stable,weights=1e-7:1)``.

    Raises:
      ValueError: unknown proxy, option or value, naming the choices.
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if bool(bracket) != rest.endswith(")"):
        raise ValueError(f"malformed proxy {text!r}; write name(option=value,...)")
    if name not in PROXIES:
        raise ValueError(f"unknown proxy {name!r}; choose from {sorted(PROXIES)}")
    factory = PROXIES[name]
    known = inspect.signature(factory).parameters
    given: dict[str, str] = {}
    for item in filter(None, rest.removesuffix(")").split(",")):
        option, equals, value = (part.strip() for part in item.partition("="))
        if option not in known or not equals:
            raise ValueError(
                f"unknown option {item.strip()!r} of {name}; choose from {list(known)}"
            )
        if option in given:
            raise ValueError(f"option {option!r} of {name} is given twice")
        given[option] = value
    try:
        proxy = factory(**{option: _value(value) for option, value in given.items()})
    except TypeError as error:  # a number where a tuple should be, for instance
        raise ValueError(f"{text!r}: {error}") from error
    label = ",".join(f"{option}={given[option]}" for option in known if option in given)
    return dataclasses.replace(proxy, name=f"{name}({label})" if label else name)


def _value(text: str) -> Any:
    if ":" in text:
        return tuple(_value(part) for part in text.split(":"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
