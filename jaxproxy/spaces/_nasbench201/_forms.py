"""Other forms of NAS-Bench-201's strings: NASLib's, the benchmark's own code's."""

import re

import numpy as np

from jaxproxy.options import quoted
from jaxproxy.spaces._nasbench201 import _codes as codes
from jaxproxy.spaces._nasbench201 import _masks as masks
from jaxproxy.spaces._texts import are_integers, parse_literal

# NASLib goes through the edges by their sources, and numbers operations otherwise.
NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
NASLIB_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")

_STRUCTURE = re.compile(r"Structure\(4 nodes with (.*)\)")
_NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_FORMS = (
    "read are '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|', Structure(4 nodes with ...), the "
    "pairs of its list, NASLib's tuple '(4, 0, 3, 1, 4, 3)' and the official number"
)


def from_str(arch: str) -> np.ndarray:
    """Returns the code ``int32[6]`` of an architecture in any form that is read.

    Raises:
      ValueError: as :func:`official`, or a malformed string.
    """
    return codes.from_str(official(arch))


def mask_from_str(arch: str) -> np.ndarray:
    """Returns the mask ``int32[24]`` of a mask's string, or of an architecture.

    Raises:
      ValueError: as :func:`official`, or a malformed string.
    """
    return masks.from_str(official(arch))


def official(arch: str) -> str:
    """Returns an architecture in the form ``|op~0|+|op~0|op~1|+...``.

    Other texts are given back as they are, without spaces around them. A list of six
    numbers, ``[4, 0, 3, 1, 4, 3]``, is refused: unlike NASLib's tuple, it is written by
    several programs with several orders.

    Raises:
      ValueError: a tuple or number that is none of an architecture, or such a list.
    """
    text = arch.strip()
    if match := _STRUCTURE.fullmatch(text):
        return match[1]
    if _NUMBER.fullmatch(text):
        if int(text) >= codes.NUM_ARCHS:
            raise ValueError(
                f"official numbers are 0 to {codes.NUM_ARCHS - 1}, not {text}"
            )
        return codes.to_str(codes.enumerate_codes()[int(text)])
    if text[:1] not in ("(", "["):
        return text
    found = parse_literal(text)
    if are_integers(found):
        if isinstance(found, tuple):
            return _of_naslib(text, found)
        raise ValueError(
            f"{quoted(text)} may be in several orders of operations; {_FORMS}"
        )
    nodes = _of_pairs(found)
    if nodes is None:
        raise ValueError(f"{quoted(text)} is no architecture; {_FORMS}")
    return nodes


def _of_naslib(text: str, numbers: tuple[int, ...]) -> str:
    known = range(len(NASLIB_OPS))
    if len(numbers) != len(codes.EDGES) or not all(op in known for op in numbers):
        raise ValueError(
            f"{quoted(text)} is no tuple of six numbers from 0 to 4; {_FORMS}"
        )
    op = dict(zip(NASLIB_EDGES, numbers, strict=True))
    genes = [codes.OPS.index(NASLIB_OPS[op[edge]]) for edge in codes.EDGES]
    return codes.to_str(np.array(genes))


def _of_pairs(found: object) -> str | None:
    """Returns the string of three nodes of pairs ``("op", source)``; None if none."""
    nodes = []
    for node in found if isinstance(found, list | tuple) else ():
        if not isinstance(node, list | tuple) or not all(
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and are_integers(pair[1:])
            for pair in node
        ):
            return None
        nodes.append("|" + "".join(f"{op}~{source}|" for op, source in node))
    return "+".join(nodes) or None
