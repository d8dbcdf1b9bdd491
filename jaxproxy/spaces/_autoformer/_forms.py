"""Other forms of AutoFormer's architectures: its YAML, dicts and tuples of its logs."""

import re
from collections.abc import Mapping
from typing import Any

from jaxproxy.options import quoted
from jaxproxy.spaces._texts import parse_literal

_NAMES = {
    "embed": ("embed_dim", "hidden_dim"),
    "depth": ("depth", "layer_num"),
    "heads": ("num_heads",),
    "mlp": ("mlp_ratio",),
}
_SECTION = "retrain"
"""Of the YAML, what is trained; the others say what is searched."""
_KEY = re.compile(r"(\s*)(\w+)\s*:\s*(.*)")
_ITEM = re.compile(r"\s*-\s*(.+)")
FORMS = (
    "read are 'embed:192|depth:12|heads:3-4-...|mlp:3.5-4-...', AutoFormer's YAML with "
    "RETRAIN, its dict of mlp_ratio, num_heads, embed_dim and layer_num, and its tuple "
    "of depth, ratios, heads and embedding"
)


def plain(arch: str) -> str:
    """Returns an architecture in the form ``embed:192|depth:12|heads:...|mlp:...``.

    Other texts are given back as they are, without spaces around them.

    Raises:
      ValueError: YAML, a dict or a tuple that is of no architecture.
    """
    text = arch.strip()
    # A line of a log may say in words what the dict behind it is.
    start = text.find("{")
    if start >= 0:
        found = parse_literal(text[start:])
    elif text.startswith("("):
        found = _of_tuple(parse_literal(text))
    elif "\n" in text or text.lower().startswith(f"{_SECTION}:"):
        found = _yaml(text)
    else:
        return text
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"{quoted(arch)} is no architecture; {FORMS}")
    return _written(arch, found)


def _of_tuple(found: Any) -> Any:
    """Returns the dict of what AutoFormer's evolution calls a candidate."""
    depth = found[0] if isinstance(found, tuple) and found else None
    if not isinstance(depth, int) or len(found) != 2 * depth + 2:
        return None
    ratios, heads = found[1 : depth + 1], found[depth + 1 : -1]
    return {
        "depth": depth,
        "mlp_ratio": ratios,
        "num_heads": heads,
        "embed_dim": found[-1],
    }


def _yaml(text: str) -> dict[str, Any] | None:
    """Returns the section that is trained, or all if there are no sections."""
    sections: dict[str, dict[str, Any]] = {"": {}}
    section, key = "", ""
    for line in text.splitlines():
        line = line.partition("#")[0].rstrip()
        if not line:
            continue
        if item := _ITEM.fullmatch(line):
            values = sections[section].get(key)
            if not isinstance(values, list):
                return None
            values.append(parse_literal(item[1]))
        elif match := _KEY.fullmatch(line):
            indent, name, value = match.groups()
            if (
                not indent
                and not value
                and name.lower() not in sum(_NAMES.values(), ())
            ):
                section = name.lower()
                sections[section] = {}
                continue
            section, key = section if indent else "", name.lower()
            if key in sections[section]:
                return None
            sections[section][key] = parse_literal(value) if value else []
        else:
            return None
    return sections.get(_SECTION) or sections[""] or None


def _written(arch: str, found: Mapping[str, Any]) -> str:
    lower = {name.lower(): value for name, value in found.items()}
    if isinstance(lower.get(_SECTION), dict):
        return _written(arch, lower[_SECTION])
    values = {}
    for field, names in _NAMES.items():
        given = [lower[name] for name in names if name in lower]
        if len(given) != 1:
            raise ValueError(f"{quoted(arch)} has no {' or '.join(names)}; {FORMS}")
        values[field] = given[0]
    embed = values["embed"]
    if isinstance(embed, list | tuple):
        if not embed or any(dim != embed[0] for dim in embed):
            raise ValueError(
                f"{quoted(arch)} has several embeddings; all blocks have one"
            )
        embed = embed[0]
    lists = [values["heads"], values["mlp"]]
    if not all(isinstance(numbers, list | tuple) for numbers in lists):
        raise ValueError(f"{quoted(arch)} has no lists of heads and ratios; {FORMS}")
    numbers = [embed, values["depth"], *lists[0], *lists[1]]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise ValueError(f"{quoted(arch)} has a value that is no number; {FORMS}")
    # All digits, so that what is near a choice is not taken for it.
    heads, ratios = ("-".join(map(_digits, some)) for some in lists)
    first = f"embed:{_digits(embed)}|depth:{_digits(values['depth'])}"
    return f"{first}|heads:{heads}|mlp:{ratios}"


def _digits(number: float) -> str:
    return repr(number).removesuffix(".0")
