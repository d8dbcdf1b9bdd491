"""Which architectures are scored in which part of a run (host code).

It depends on the codes alone, so that a run that was stopped goes on anywhere.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxproxy.scoring._balance import deal
from jaxproxy.spaces import Space


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


class Plan(NamedTuple):
    """What is scored, and where the request finds it.

    Attributes:
      codes: int32[N, G], the request.
      strings: the request as it is reported.
      classes: int32[C, G], representatives in the order of scoring: part ``i`` is
        ``classes[i * part_size:(i + 1) * part_size]``, ascending in cost.
      class_of_row: int64[N], position in ``classes`` of each requested code.
      rows: int64[n] of each part, ascending positions in the request.
      part_size: classes per part.
    """

    codes: np.ndarray
    strings: Sequence[str]
    classes: np.ndarray
    class_of_row: np.ndarray
    rows: list[np.ndarray]
    part_size: int

    def request(self) -> dict[str, Any]:
        """Returns what identifies the request, for the manifest."""
        return {
            "archs_sha256": _sha256(
                self.codes.tobytes(), "\n".join(self.strings).encode()
            ),
            "num_archs": len(self.codes),
            "num_classes": len(self.classes),
            # a later version's cost model or classes could deal other parts
            "plan_sha256": _sha256(self.classes.tobytes(), self.class_of_row.tobytes()),
        }

    def part(self, space: Space, number: int) -> Part:
        """Returns the architectures of one part."""
        rows, start = self.rows[number], number * self.part_size
        classes = self.classes[start : start + self.part_size]
        return Part(
            index=rows,
            strings=[self.strings[row] for row in rows],
            codes=self.codes[rows],
            classes=classes,
            class_strings=np.array([space.to_str(code) for code in classes], object),
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
    """
    scored = np.stack([space.canonical(c) for c in codes]) if deduplicate else codes
    classes, class_of_row = np.unique(scored, axis=0, return_inverse=True)
    by_cost = np.argsort(space.cost(classes), kind="stable")
    order = by_cost[np.concatenate(deal(len(classes), part_size))]
    class_of_row = np.argsort(order)[class_of_row.reshape(-1)]
    part_of_row = class_of_row // part_size
    ends = np.cumsum(np.bincount(part_of_row))[:-1]
    rows = np.split(np.argsort(part_of_row, kind="stable"), ends)
    return Plan(codes, strings, classes[order], class_of_row, rows, part_size)


def _sha256(*data: bytes) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()
