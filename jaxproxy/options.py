"""Things of a table written as text, with options: ``intrain(layers=relu)``."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

__all__ = ["check_choices", "make"]

T = TypeVar("T")


def check_choices(**options: tuple[str, Collection[str]]) -> None:
    """Raises ValueError for an option that is none of its choices, naming them.

    Args:
      **options: name -> (value, choices).
    """
    for name, (value, choices) in options.items():
        if value not in choices:
            raise ValueError(f"unknown {name} {value!r}; choose from {sorted(choices)}")


def make(
    text: str, table: Mapping[str, Callable[..., T]], what: str, **more: Any
) -> tuple[T, str]:
    """What a text asks for, and its name: options in the order of the signature.

    Numbers in a tuple are joined by ``:``, as in ``weights=1e-7:1``.

    Args:
      text: a name, with or without options.
      table: name -> factory.
      what: the table's things are, for messages.
      **more: options besides, which are no part of the name.

    Raises:
      ValueError: unknown name, option or value, naming the choices; an option that is
        given twice, unless both values agree.
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if bool(bracket) != rest.endswith(")"):
        raise ValueError(f"malformed {what} {text!r}; write name(option=value,...)")
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; choose from {sorted(table)}")
    known = inspect.signature(table[name]).parameters
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
    options = {option: _value(value) for option, value in given.items()}
    for option, value in options.items():
        if isinstance(known[option].default, bool) and not isinstance(value, bool):
            raise ValueError(
                f"option {option!r} of {name} must be True or False, not {value!r}"
            )
        if isinstance(value, bool):
            given[option] = str(value)
    for option, value in more.items():
        if option not in known:
            raise ValueError(f"{name} has no {option!r}; its options are {list(known)}")
        if options.setdefault(option, value) != value:
            raise ValueError(f"option {option!r} of {name} is given twice")
    try:
        made = table[name](**options)
    except TypeError as error:  # a number where a tuple should be, for instance
        raise ValueError(f"{text!r}: {error}") from error
    label = ",".join(f"{option}={given[option]}" for option in known if option in given)
    return made, f"{name}({label})" if label else name


def _value(text: str) -> Any:
    if ":" in text:
        return tuple(_value(part) for part in text.split(":"))
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
