"""Which architectures are scored in which part of a run (host code).

It depends on the codes alone, so that a run that was stopped goes on anywhere. Of a
request of millions, what is kept beside its codes is a few numbers an architecture:
strings are written, and representatives unpacked, when a part needs them.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from jaxproxy.scoring._balance import deal
from jaxproxy.scoring._keys import distinct_keys, pack, unpack
from jaxproxy.spaces import Space

# Codes that are looked at together; counts of a million at once take gigabytes.
_BLOCK = 2**14


class Part(NamedTuple):
    """The architectures of a part.

    Attributes:
      index: int64[n], ascending positions in the request.
      strings: n architecture strings.
      codes: int32[n, G], as requested.
      classes: int32[C, G], the representatives to score.
      class_strings: object[C], their architecture strings.
      class_of_row: int64[n], position in ``classes``.
    """

    index: np.ndarray
    strings: list[str]
    codes: np.ndarray
    classes: np.ndarray
    class_strings: np.ndarray
    class_of_row: np.ndarray


class SpaceStrings(Sequence[str]):
    """The strings of codes as their space writes them, each when it is asked for."""

    def __init__(self, space: Space, codes: np.ndarray) -> None:
        """Writes nothing yet."""
        self._space, self._codes = space, codes

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._codes)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Returns one string, or those of a slice."""
        if isinstance(place, slice):
            return self._space.to_strs(self._codes[place])
        return self._space.to_str(self._codes[place])

    def at(self, rows: np.ndarray) -> list[str]:
        """Returns the strings of some rows int64[n]."""
        return self._space.to_strs(self._codes[rows])


class Plan(NamedTuple):
    """What is scored, and where the request finds it.

    Attributes:
      codes: int32[N, G], the request.
      strings: the request as it is reported.
      class_keys: int64[C, W], representatives, packed, in the order of scoring: part
        ``i`` is ``[i * part_size:(i + 1) * part_size]``, ascending in cost.
      class_of_row: int64[N], position among them of each requested code.
      rows: int64[n] of each part, ascending positions in the request.
      part_size: classes per part.
      choices: number of values of each gene.
    """

    codes: np.ndarray
    strings: Sequence[str]
    class_keys: np.ndarray
    class_of_row: np.ndarray
    rows: list[np.ndarray]
    part_size: int
    choices: tuple[int, ...]

    def request(self) -> dict[str, Any]:
        """Returns what identifies the request, for the manifest."""
        return {
            "archs_sha256": _sha256(_bytes(self.codes), self._text()),
            "num_archs": len(self.codes),
            "num_classes": len(self.class_keys),
            # a later version's cost model or classes could deal other parts
            "plan_sha256": _sha256(self._class_bytes(), _bytes(self.class_of_row)),
        }

    def _text(self) -> Iterator[bytes]:
        """Yields the strings with a newline between them, block by block."""
        separator = ""
        for block in _blocks(len(self.strings)):
            yield (separator + "\n".join(self.strings[block])).encode()
            separator = "\n"

    def _class_bytes(self) -> Iterator[bytes]:
        for block in _blocks(len(self.class_keys)):
            yield self.classes(block).tobytes()

    def classes(self, places: slice) -> np.ndarray:
        """Returns representatives int32[n, G] by their places in the order."""
        return unpack(self.class_keys[places], self.choices)

    def part(self, space: Space, number: int) -> Part:
        """Returns the architectures of one part."""
        rows, start = self.rows[number], number * self.part_size
        classes, strings = (
            self.classes(slice(start, start + self.part_size)),
            self.strings,
        )
        return Part(
            index=rows,
            strings=strings.at(rows)
            if isinstance(strings, SpaceStrings)
            else [strings[row] for row in rows.tolist()],
            codes=self.codes[rows],
            classes=classes,
            class_strings=np.array(space.to_strs(classes), object),
            class_of_row=self.class_of_row[rows] - start,
        )


def make_plan(
    space: Space,
    codes: np.ndarray,
    strings: Sequence[str],
    part_size: int,
    deduplicate: bool,
) -> Plan:
    """Returns which classes are scored in which part.

    Codes of like cost are dealt to all parts, so that each takes as long.

    Args:
      space: of the codes.
      codes: int32[N, G].
      strings: N of them, as they are reported.
      part_size: classes per part.
      deduplicate: whether one representative of each isomorphism class is scored.

    Raises:
      ValueError: the space has other representatives of many codes at once than of one.
    """
    blocks = (codes[block] for block in _blocks(len(codes)))
    scored = (_canonical(space, block) for block in blocks) if deduplicate else blocks
    keys = np.concatenate([pack(block, space.choices) for block in scored])
    keys, class_of_row = distinct_keys(keys)
    costs = [
        space.cost(unpack(keys[block], space.choices)) for block in _blocks(len(keys))
    ]
    by_cost = np.argsort(np.concatenate(costs), kind="stable")
    order = by_cost[np.concatenate(deal(len(keys), part_size))]
    place_of_class = np.empty_like(order)
    place_of_class[order] = np.arange(len(order))
    class_of_row = place_of_class[class_of_row]
    part_of_row = class_of_row // part_size
    ends = np.cumsum(np.bincount(part_of_row))[:-1]
    rows = np.split(np.argsort(part_of_row, kind="stable"), ends)
    return Plan(
        codes, strings, keys[order], class_of_row, rows, part_size, space.choices
    )


def _canonical(space: Space, codes: np.ndarray) -> np.ndarray:
    """Returns representatives of many codes int[n, G].

    A space of one's own may have a function of one code where one of any number is
    asked for; then members would silently get the scores of others.
    """
    found = space.canonical(codes)
    for row in {0, len(codes) - 1}:
        one = space.canonical(codes[row])
        if np.shape(found) != codes.shape or not np.array_equal(found[row], one):
            raise ValueError(
                f"canonical of {space.name} must take codes of shape [..., G]: of "
                f"{len(codes)} at once, it gives others than of one"
            )
    return found


def _blocks(num: int) -> Iterator[slice]:
    starts = itertools.count(0, _BLOCK)
    return (
        slice(s, s + _BLOCK) for s in itertools.takewhile(lambda s: s < num, starts)
    )


def _bytes(rows: np.ndarray) -> Iterator[bytes]:
    return (rows[block].tobytes() for block in _blocks(len(rows)))


def _sha256(*data: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in itertools.chain(*data):
        digest.update(piece)
    return digest.hexdigest()
