"""Search spaces, one benchmark per family of files."""

from collections.abc import Callable

from jaxproxy.spaces._nasbench201_space import nasbench201
from jaxproxy.spaces._natsbench_sss_space import natsbench_sss
from jaxproxy.spaces._space import Graph, Space

__all__ = ["SPACES", "Graph", "Space", "nasbench201", "natsbench_sss"]

SPACES: dict[str, Callable[..., Space]] = {
    "nasbench201": nasbench201,
    "natsbench_sss": natsbench_sss,
}
