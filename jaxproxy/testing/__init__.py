"""Checks for users' own additions, and the comparison with an oracle.

``python -m jaxproxy.testing oracle FOLDER`` compares with the values of another
implementation and exits 1 if any differs by more than 1e-4.
"""

from jaxproxy.testing._checks import check_proxy, check_space
from jaxproxy.testing._meters import check_meter
from jaxproxy.testing._searches import check_search

__all__ = ["check_meter", "check_proxy", "check_search", "check_space"]
