"""What compiled programs are made of, counted from their text."""

import re
from functools import cache

import numpy as np

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"(?:condition|body|to_apply|calls)=%?([\w.\-]+)")
_BRANCHES = re.compile(
    r"(?:branch_computations=\{([^}]*)\}"
    r"|true_computation=%?([\w.\-]+), false_computation=%?([\w.\-]+))"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What moves nothing and computes nothing.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}


def num_steps(text: str, trips: float = 1) -> float:
    """Returns how many operations a program runs, one fusion an operation.

    Loops count as often as they are known to run. If that depends on data, they count
    as often as ``trips`` says, and loops inside of these once. Of a conditional, the
    branches count by their mean; of two, the longer, since the other is of what only
    fills up a block.
    """
    computations = _computations(text)
    entry = next(name for name, (first, _) in computations.items() if first)

    @cache
    def steps(name: str, trips: float) -> float:
        return sum(of_line(line, trips) for line in computations[name][1])

    def of_line(line: str, trips: float) -> float:
        match = re.search(r"= (?:\([^=]*\)|\S+) ([\w\-]+)\(", line)
        if match is None or match[1] in _FREE:
            return 0
        if match[1] == "while":
            known = _TRIPS.search(line)
            inside = trips if known else 1
            once = sum(steps(name, inside) for name in _CALLED.findall(line))
            return once * (int(known[1]) if known else trips)
        if match[1] == "conditional":
            found = _BRANCHES.search(line)
            assert found is not None, line
            words = found[1].split(",") if found[1] else [found[2], found[3]]
            names = [word.strip().lstrip("%") for word in words]
            branches = [steps(name, trips) for name in names]
            return 1 + (max(branches) if len(names) == 2 else np.mean(branches))
        if match[1] == "call":
            return sum(steps(name, trips) for name in _CALLED.findall(line))
        return 1

    return steps(entry, trips)


def _computations(text: str) -> dict[str, tuple[bool, list[str]]]:
    """Returns name -> whether it is the entry, and its lines."""
    found: dict[str, tuple[bool, list[str]]] = {}
    lines: list[str] = []
    for line in re.sub(r"/\*index=\d+\*/", "", text).splitlines():
        if match := _COMPUTATION.match(line):
            lines = []
            found[match[2]] = bool(match[1]), lines
        elif line.startswith("  "):
            lines.append(line)
    return found


def group_counts(text: str) -> set[int]:
    """Returns the numbers of groups of convolutions in StableHLO."""
    found = re.findall(r"(?:feature|batch)_group_count = (\d+)", text)
    return {int(number) for number in found}


def precisions(text: str) -> set[str]:
    """Returns the precisions of products and convolutions in StableHLO."""
    found = set()
    for line in text.splitlines():
        if re.search(r"stablehlo\.(dot_general|convolution)[ (]", line):
            match = re.search(r"precision(?:_config)? = \[([^\]]*)\]", line)
            found |= set(re.findall(r"[A-Z]{4,}", match[1] if match else "DEFAULT"))
    return found
