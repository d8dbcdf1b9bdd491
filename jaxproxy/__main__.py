"""``python -m jaxproxy`` is ``jaxproxy``."""

import sys

from jaxproxy.cli import main

sys.exit(main())
