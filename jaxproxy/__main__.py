"""``python -m jaxproxy`` is ``jaxproxy``."""

import sys

from jaxproxy.cli import main

if __name__ == "__main__":  # and not where local workers import what was started
    sys.exit(main())
