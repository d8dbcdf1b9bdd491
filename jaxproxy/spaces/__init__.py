"""Search spaces, one benchmark per family of files."""

from collections.abc import Callable

from jaxproxy.spaces._autoformer_space import autoformer
from jaxproxy.spaces._nasbench201_space import nasbench201
from jaxproxy.spaces._nasbench_nlp_space import nasbench_nlp
from jaxproxy.spaces._space import Graph, Space

__all__ = ["SPACES", "Graph", "Space", "autoformer", "nasbench201", "nasbench_nlp"]

SPACES: dict[str, Callable[..., Space]] = {
    "autoformer": autoformer,
    "nasbench201": nasbench201,
    "nasbench_nlp": nasbench_nlp,
}
