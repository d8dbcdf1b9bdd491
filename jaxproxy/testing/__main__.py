"""``python -m jaxproxy.testing oracle FOLDER``: values of another implementation."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jaxproxy.startup import set_up_jax
from jaxproxy.testing._oracle import TOLERANCE, compare


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
    set_up_jax()
    sys.exit(main())
