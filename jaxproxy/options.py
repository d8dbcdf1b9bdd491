"""Options: of things made from text, and as the name of what a call made.

A factory such as ``intrain(*, layers="conv", dead="paper")`` makes a thing of a table.
Users write the call as text, ``intrain(layers=relu)``, and the thing is called so.
"""

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import (
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

__all__ = [
    "call_name",
    "check_choices",
    "check_counts",
    "check_options",
    "choices_of",
    "is_whole",
    "make",
    "printable",
    "quoted",
]

T = TypeVar("T")

# Characters of a value up to which a message shows all of it, and of what is longer.
_WHOLE, _QUOTED = 200, 80


def quoted(value: Any) -> str:
    """Returns a value as messages show it: ``repr``, of long ones the first part.

    A string of 100 million characters is not a line that anybody reads.
    """
    if isinstance(value, str) and len(value) > _WHOLE:
        return f"{value[:_QUOTED]!r}... ({len(value)} characters)"
    text = repr(value)
    if isinstance(value, str) or len(text) <= _WHOLE:
        return text
    return f"{text[:_QUOTED]}... ({len(text)} characters)"


def printable(text: str) -> str:
    r"""Returns a text with all that controls a terminal written as an escape.

    That is what Python calls not printable, such as the ``\x1b`` of a colour, a
    newline in the name of a file, or a mark that turns the direction of writing.
    """
    if text.isprintable():
        return text
    escaped = (c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return "".join(escaped)


def check_choices(**options: tuple[Any, Collection[Any]]) -> None:
    """Raises ValueError for an option that is none of its choices, naming them.

    Args:
      **options: name -> (value, choices).
    """
    for name, (value, choices) in options.items():
        if value not in choices:
            named = sorted(choices, key=str)
            raise ValueError(f"unknown {name} {quoted(value)}; choose from {named}")


def check_counts(**counts: Any) -> None:
    """Raises ValueError for an option that is no integer from 1 to 1,000,000.

    Args:
      **counts: name -> value.
    """
    for name, value in counts.items():
        if not is_whole(value) or not 1 <= value <= 10**6:
            raise ValueError(
                f"{name} is an integer from 1 to 1000000, not {quoted(value)}"
            )


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer; ``10.0`` and ``True`` are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@cache
def _integers(factory: Callable[..., Any]) -> frozenset[str]:
    """Returns the options that are annotated as ``int`` or ``int | None``."""
    hints = get_type_hints(factory).items()
    return frozenset(name for name, hint in hints if hint in (int, int | None))


def choices_of(factory: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Returns option -> its choices, for the options that have finitely many.

    Those are options annotated as a ``Literal``, alone or beside other types, such as
    ``Literal["relu", "conv"] | tuple[str, ...]``, and flags, annotated as ``bool``.
    """
    return {name: option.choices for name, option in _finite(factory).items()}


class _Option(NamedTuple):
    """An option of finitely many choices, perhaps beside values of other types."""

    choices: tuple[Any, ...]
    others: tuple[type, ...] = ()


@cache
def _finite(factory: Callable[..., Any]) -> dict[str, _Option]:
    found: dict[str, _Option] = {}
    for name, hint in get_type_hints(factory).items():
        is_union = get_origin(hint) in (Union, types.UnionType)
        parts = get_args(hint) if is_union else (hint,)
        literals = [part for part in parts if get_origin(part) is Literal]
        others = tuple(get_origin(part) or part for part in parts)
        if hint is bool:
            found[name] = _Option((False, True))
        elif literals:
            choices = tuple(choice for part in literals for choice in get_args(part))
            found[name] = _Option(choices, tuple(t for t in others if t is not Literal))
    found.pop("return", None)
    return found


def check_options(factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that is none of an option's finitely many choices.

    Args:
      factory: whose signature says what the choices are.
      options: name -> value; options without declared choices are left to the factory.
    """
    for name, option in _finite(factory).items():
        value = options.get(name, option.choices[0])
        if option.choices == (False, True):
            if not isinstance(value, bool):
                raise ValueError(
                    f"option {quoted(name)} of {factory.__name__} must be True or "
                    "False, "
                    f"not {quoted(value)}"
                )
        elif not isinstance(value, option.others):
            check_choices(**{name: (value, option.choices)})


def call_name(factory: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Returns the call as text: ``"covariance(conv,rows=raw)"``.

    Args:
      factory: what is called.
      options: in the order of its signature. Positional ones are written without
        their names if none before them is left out, and texts in them are joined by
        ``+``, as in ``"relu+pool"``.
    """
    parameters, words = inspect.signature(factory).parameters, []
    first = list(parameters)
    for place, (name, value) in enumerate(options.items()):
        positional = parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if positional and first[place] == name:
            words.append(_named(factory, name, value, "+"))
        else:
            words.append(f"{name}={_named(factory, name, value)}")
    return f"{factory.__name__}({','.join(words)})" if words else factory.__name__


def _named(
    factory: Callable[..., Any], option: str, value: Any, between: str = ":"
) -> str:
    """Returns the value of an option, one kind told from a group of its name.

    ``("cell",)`` is ``"cell+"``, since ``"cell"`` is a group of two.
    """
    known = _finite(factory).get(option, _Option(()))
    alone = isinstance(value, tuple) and len(value) == 1 and value[0] in known.choices
    return _written(value, between) + (between if alone else "")


def _written(value: Any, between: str = ":") -> str:
    """Returns a value as :func:`make` reads it, all of its digits included.

    A tuple is written with ``between`` between texts, and ``:`` between numbers.
    """
    if isinstance(value, tuple | list):
        strings = all(isinstance(item, str) for item in value)
        return (between if strings else ":").join(map(_written, value))
    if isinstance(value, np.generic):
        return _written(value.item())
    if isinstance(value, float):
        # 2.0 is 2, to which it is equal, and 1e-07 is 1e-7.
        return re.sub(r"e([+-])0+", r"e\1", repr(value).removesuffix(".0"))
    return str(value)


def make(
    text: str, table: Mapping[str, Callable[..., T]], what: str, **more: Any
) -> tuple[T, str]:
    """Returns what a text asks for, and its name: options as in the signature.

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
    name, options = _parsed(text, table, what)
    factory = table[name]
    known = inspect.signature(factory).parameters
    label = {option: options[option] for option in known if option in options}
    for option, value in more.items():
        if option not in known:
            raise ValueError(
                f"{name} has no {quoted(option)}; its options are {list(known)}"
            )
        # Arrays are compared with a text's value alone, not with themselves.
        if option in options and options[option] != value:
            raise ValueError(f"option {quoted(option)} of {name} is given twice")
        options[option] = value
    for option, value in options.items():
        flag = isinstance(known[option].default, bool)
        if flag and not isinstance(value, bool):
            raise ValueError(
                f"option {option!r} of {name} must be True or False, "
                f"not {quoted(value)}"
            )
        if option in _integers(factory) and not is_whole(value) and value is not None:
            raise ValueError(
                f"option {option!r} of {name} is a whole number, not {quoted(value)}"
            )
    try:
        made = factory(**options)
    except TypeError as error:  # a number where a tuple should be, for instance
        raise ValueError(f"{quoted(text)}: {error}") from error
    words = ",".join(f"{o}={_named(factory, o, value)}" for o, value in label.items())
    return made, f"{name}({words})" if words else name


def _parsed(
    text: str, table: Mapping[str, Callable[..., Any]], what: str
) -> tuple[str, dict[str, Any]]:
    """Returns the name and the options that a text gives."""
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if bool(bracket) != rest.endswith(")"):
        raise ValueError(
            f"malformed {what} {quoted(text)}; write name(option=value,...)"
        )
    if name not in table:
        raise ValueError(f"unknown {what} {quoted(name)}; choose from {sorted(table)}")
    known = inspect.signature(table[name]).parameters
    options: dict[str, Any] = {}
    for item in filter(None, rest.removesuffix(")").split(",")):
        option, equals, value = (part.strip() for part in item.partition("="))
        if option not in known or not equals:
            there = [o for o, p in known.items() if p.default is not p.empty]
            raise ValueError(
                f"unknown option {quoted(item.strip())} of {name}; choose from {there}"
            )
        if option in options:
            raise ValueError(f"option {quoted(option)} of {name} is given twice")
        options[option] = _value(value)
    return name, options


def _value(text: str) -> Any:
    if ":" in text:
        return tuple(_value(part) for part in text.removesuffix(":").split(":"))
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
