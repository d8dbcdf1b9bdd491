"""Checks for users' own additions, and the comparison with an oracle.

``python -m jaxproxy.testing oracle FOLDER`` compares with the values of another
implementation and exits 1 if any differs by more than 1e-4.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxproxy.oracle import TOLERANCE, compare
from jaxproxy.proxies import Proxy
from jaxproxy.score import make_scorer
from jaxproxy.spaces import Space
from jaxproxy.types import Fidelity

__all__ = ["check_proxy", "check_space", "main"]

_SMALL = Fidelity(width=4, cells=1, batch_size=4, resolution=8)


def check_space(space: Space, *, num: int = 50, seed: int = 0) -> None:
    """Raises ValueError if a space breaks its contract.

    Strings and codes must be inverse to each other, canonical forms idempotent and
    valid, mutants different, counts positive integers, and the network finite.

    Args:
      space: what to check.
      num: how many random architectures.
      seed: of the sample.
    """
    rng = np.random.default_rng(seed)
    codes = space.sample(rng, min(num, space.num_archs))
    for code in codes:
        text = space.to_str(code)
        _require(np.array_equal(space.from_str(text), code), f"from_str({text!r})")
        canonical = space.canonical(code)
        again = space.canonical(canonical)
        _require(np.array_equal(again, canonical), f"canonical form of {text!r}")
        space.check_codes(np.asarray(canonical)[None])
        mutant = space.mutate(rng, code)
        _require((mutant != code).sum() == 1, f"mutant of {text!r}")
        for count in (space.num_params(code), space.num_macs(code)):
            _require(bool(int(count) == count >= 0), f"counts of {text!r}")
    costs = space.cost(codes)
    _require(costs.shape == (len(codes),) and bool((costs > 0).all()), "cost")


def check_proxy(
    proxy: Proxy, space: Space, *, fidelity: Fidelity = _SMALL, num: int = 6
) -> None:
    """Raises ValueError if a proxy breaks its contract on a space.

    Scores must be scalars, mostly finite, and independent of the block size and of the
    order of the architectures.

    Args:
      proxy: what to check.
      space: where.
      fidelity: small, since two programs are compiled.
      num: how many random architectures.
    """
    codes = space.sample(np.random.default_rng(0), num)
    if proxy.count is not None:
        counts = np.asarray(proxy.count(space, codes))
        _require(counts.shape == (num,), f"{proxy.name} counts one number a code")
        return
    one = make_scorer(space, [proxy], fidelity=fidelity, block_size=num)
    other = make_scorer(space, [proxy], fidelity=fidelity, block_size=2 * num)
    scores = one(codes).scores[proxy.name]
    reverse = other(codes[::-1]).scores[proxy.name][::-1]
    _require(scores.shape == (num, 1), f"{proxy.name} gives one number a code")
    _require(bool(np.isfinite(scores).any()), f"{proxy.name} is finite somewhere")
    same = np.allclose(scores, reverse, rtol=1e-5, equal_nan=True)
    _require(same, f"{proxy.name} independent of blocks and order")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"contract broken: {what}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``oracle FOLDER``; 0 if it agrees, 1 if not, 2 for wrong arguments."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 2 or words[0] != "oracle":
        print("usage: python -m jaxproxy.testing oracle FOLDER", file=sys.stderr)
        return 2
    try:
        worst = compare(Path(words[1]))
    except ValueError as error:
        print(f"jaxproxy.testing: error: {error}", file=sys.stderr)
        return 2
    failed = False
    for name, difference in worst.items():
        wrong = not difference <= TOLERANCE
        failed |= wrong
        print(f"{name:16} {difference:.1e}{'  FAILED' if wrong else ''}")
    print("failed" if failed else f"all within {TOLERANCE:g}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
