"""Search spaces, one benchmark per family of files."""

from collections.abc import Callable

from jaxproxy.spaces._nasbench101_space import nasbench101
from jaxproxy.spaces._nasbench201_space import nasbench201
from jaxproxy.spaces._space import Graph, Space

__all__ = ["SPACES", "Graph", "Space", "nasbench101", "nasbench201"]

SPACES: dict[str, Callable[..., Space]] = {
    "nasbench101": nasbench101,
    "nasbench201": nasbench201,
}
