"""Writes docs/proxies.md, the page of all proxies: ``python docs/generate.py``.

Everything on it comes from the code: definitions and options from docstrings and
signatures, costs and setups from meters, choices from what the errors name.
"""

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxproxy import meters, spaces
from jaxproxy.analysis import ENSEMBLES
from jaxproxy.measure import Setup, TapPass, make_passes
from jaxproxy.options import choices_of
from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.scoring import COSTS, cost_class

PAGE = Path(__file__).with_name("proxies.md")
_INTRO = """# Proxies, ensembles, meters, spaces and setups

Written by `python docs/generate.py` from the code; edit docstrings, not this page.

A variant is written `name(option=value,...)`. Proxies whose weights, input, BatchNorm
and derivative agree share their passes; `jaxproxy plan NAME ...` shows how. An input of
`images` is what `--images FILE.npz` gives. Cost classes, roughly from cheap to dear:
"""
_SECTIONS = ("Args", "Raises", "References", "Attributes", "Returns")
# Meters whose factories have an option without a default.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "accuracies_of_constants": {"values": (-1.0, 1.0)}
}


def page() -> str:
    """The whole page, Markdown."""
    parts = [f"{_INTRO}{', '.join(COSTS)}.", "## Proxies", overview()]
    parts += [section(name, factory) for name, factory in PROXIES.items()]
    parts += ["## Ensembles", ensemble_table(), "## Meters", meter_table()]
    parts += ["### Groups of taps", group_table(), "## Spaces", space_table()]
    parts += ["## Setups", setup_table()]
    setups = inspect.getmodule(Setup)
    for name, value in _constants(setups).items():
        parts += [f"### `{name}`", markdown(value), _code(getattr(setups, name))]
    return "\n\n".join(parts) + "\n"


def overview() -> str:
    """One row for every proxy."""
    headers = ["proxy", "definition", "cost", "weights", "input", "BatchNorm", "best"]
    rows = []
    for name, factory in PROXIES.items():
        proxy = factory()
        best = "highest" if proxy.higher_is_better else "lowest"
        link = f"[`{name}`](#{name})"
        rows.append([link, _first(factory), cost_class(proxy), *_setup(proxy), best])
    return table(headers, rows)


def section(name: str, factory: Callable[..., Proxy]) -> str:
    """Definition, reference, meters and options of a proxy."""
    proxy, arguments = factory(), _arguments(factory)
    parts = [f"### {name}", markdown(_body(factory)), _sentence(proxy.reference)]
    if proxy.meters:
        parts.append(f"Meters: {_code(meter.name for meter in proxy.meters)}")
    rows = [
        [f"`{option}`", f"`{_write(parameter.default)}`",
         _code(choices(factory, option)), markdown(arguments.get(option, ""))]
        for option, parameter in inspect.signature(factory).parameters.items()
    ]  # fmt: skip
    if rows:
        parts.append(table(["option", "default", "choices", "meaning"], rows))
    return "\n\n".join(parts)


def ensemble_table() -> str:
    """One row for every ensemble."""
    rows = [
        [f"`{e.name}`", _first(e.rule), _code(e.components), e.reference]
        for e in ENSEMBLES.values()
    ]
    return table(["ensemble", "rule over its components", "components", "from"], rows)


def meter_table() -> str:
    """One row for every meter."""
    rows = []
    for name, factory in sorted(meters.METERS.items()):
        meter = factory(**_EXAMPLES.get(name, {}))
        rows.append([_call(factory), _first(factory), _cost(meter), _yes(meter.keep)])
    return table(["meter", "what it measures", "when", "kept in a run"], rows)


def space_table() -> str:
    """One row for every space."""
    rng = np.random.default_rng(0)
    rows = []
    for name, make in spaces.SPACES.items():
        space = make()
        example = space.to_str(space.sample(rng, 1)[0])
        size = space.presets["paper"]
        trained = f"{size.width} channels, {size.cells} cells, {size.resolution} pixels"
        rows.append(
            [
                f"`{name}`",
                _first(make).removeprefix("Returns "),
                _number(space.num_archs),
                trained,
                f"`{example}`",
            ]
        )
    headers = ["space", "what it is", "codes", "preset `paper`", "an architecture"]
    return table(headers, rows)


def _number(number: int) -> str:
    return f"{number:,}" if number < 1e7 else f"{number:.2g}"


def group_table() -> str:
    """One row for every name that ``layers`` and ``params`` take."""
    groups = {"layers": meters.ACTIVATIONS, "params": meters.PARAMETERS}
    rows = [
        [f"`{option}`", f"`{name}`", _code(kinds)]
        for option, named in groups.items()
        for name, kinds in named.items()
    ]
    return table(["option", "name", "tap kinds"], rows)


def setup_table() -> str:
    """One row for every field of a setup."""
    meaning = _entries(Setup, "Attributes")
    rows = [
        [f"`{field.name}`", f"`{field.default}`", markdown(meaning[field.name])]
        for field in dataclasses.fields(Setup)
    ]
    return table(["field", "default", "meaning"], rows)


def choices(factory: Callable[..., Proxy], option: str) -> list[str]:
    """What an option may be, as its annotation says."""
    return [str(choice) for choice in choices_of(factory).get(option, ())]


def table(headers: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; cells are one line each."""
    lines = [headers, ["---"] * len(headers), *rows]
    cells = ([" ".join(c.split()).replace("|", "\\|") for c in row] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def markdown(text: str) -> str:
    """A docstring's markup as GitHub reads it."""
    text = re.sub(r":math:`([^`]*)`", lambda m: f"${_formula(m[1])}$", text)
    text = re.sub(r"\.\. math:: (.*)", lambda m: f"$${_formula(m[1])}$$", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").strip()


def _formula(text: str) -> str:
    # A bar would end the cell of a table, and a backslash before a comma be lost.
    text = re.sub(r"(?<!\\)\|", r"\\vert ", " ".join(text.split()))
    return text.replace("\\,", "\\thinspace ").strip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _cost(meter: meters.Meter) -> str:
    """When a tap's reading is taken, or what a meter of a whole network runs."""
    if isinstance(meter, meters.ActivationMeter | meters.ParameterMeter):
        return meter.phase
    (one,) = make_passes([meter])
    return f"network: {', '.join(one.costs)}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _setup(proxy: Proxy) -> Iterator[str]:
    """Weights, input and BatchNorm of a proxy by default."""
    passes = make_passes(proxy.meters)
    taps = [one for one in passes if isinstance(one, TapPass)]
    own = ["of one value"] * (len(passes) - len(taps))
    for values in (
        own + [one.setup.weights for one in taps],
        [one.inputs for one in passes],
        ["none"] * len(own) + [one.setup.norm for one in taps],
    ):
        yield ", ".join(dict.fromkeys(values)) or "-"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _first(thing: Any) -> str:
    """First line of a docstring."""
    return markdown(_doc(thing).partition("\n")[0])


def _body(thing: Any) -> str:
    """A docstring up to its first section."""
    return re.split(rf"\n(?:{'|'.join(_SECTIONS)}):\n", _doc(thing))[0]


def _arguments(factory: Callable[..., Any]) -> dict[str, str]:
    """Option -> what it means; "see" another proxy's is followed."""
    found = _entries(factory, "Args")
    for option, text in found.items():
        other = re.match(r"see :func:`(\w+)`", text)
        if other:
            home = PROXIES.get(other[1]) or getattr(meters, other[1])
            found[option] = _arguments(home)[option]
    return found


def _entries(thing: Any, title: str) -> dict[str, str]:
    """Name -> text of a docstring's section."""
    found = re.search(rf"\n{title}:\n((?:  .*\n?|\n)+)", _doc(thing))
    text = textwrap.dedent(found[1]) if found else ""
    return dict(re.findall(r"^(\w+): ((?:.*\n?)(?:  .*\n?)*)", text, re.MULTILINE))


def _constants(module: Any) -> dict[str, str]:
    """Name -> the text below it, for the documented constants of a module."""
    body = ast.parse(inspect.getsource(module)).body
    found = {}
    for statement, after in itertools.pairwise(body):
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            annotated = isinstance(statement, ast.AnnAssign)
            target = statement.target if annotated else statement.targets[0]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[ast.unparse(target)] = inspect.cleandoc(str(after.value.value))
    found.pop("DEFAULT", None)  # its fields are a table of their own
    return {name: text for name, text in found.items() if name.isupper()}


def _call(factory: Callable[..., Any]) -> str:
    """Name, options and defaults."""
    options = inspect.signature(factory).parameters.values()
    bare = [str(option.replace(annotation=option.empty)) for option in options]
    return f"`{factory.__name__}({', '.join(bare)})`"


def _code(names: Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _write(value: Any) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
