"""Search spaces, one benchmark per family of files."""

from collections.abc import Callable
from typing import Any

from jaxproxy.options import make
from jaxproxy.spaces._autoformer_space import autoformer
from jaxproxy.spaces._mobilenetv2_space import mobilenetv2
from jaxproxy.spaces._nasbench101_space import nasbench101
from jaxproxy.spaces._nasbench201_space import nasbench201
from jaxproxy.spaces._nasbench_macro_space import nasbench_macro
from jaxproxy.spaces._nasbench_nlp_space import nasbench_nlp
from jaxproxy.spaces._natsbench_sss_space import natsbench_sss
from jaxproxy.spaces._space import Graph, Space
from jaxproxy.spaces._transnasbench101_space import transnasbench101_micro

__all__ = [
    "SPACES",
    "Graph",
    "Space",
    "autoformer",
    "mobilenetv2",
    "nasbench101",
    "nasbench201",
    "nasbench_macro",
    "nasbench_nlp",
    "natsbench_sss",
    "parse_space",
    "transnasbench101_micro",
]

SPACES: dict[str, Callable[..., Space]] = {
    "autoformer": autoformer,
    "mobilenetv2": mobilenetv2,
    "nasbench101": nasbench101,
    "nasbench201": nasbench201,
    "nasbench_macro": nasbench_macro,
    "nasbench_nlp": nasbench_nlp,
    "natsbench_sss": natsbench_sss,
    "transnasbench101_micro": transnasbench101_micro,
}


def parse_space(text: str, **options: Any) -> Space:
    """The space of ``"nasbench201"`` or ``"transnasbench101_micro(task=jigsaw)"``.

    Args:
      text: name in :data:`SPACES`, with or without options.
      **options: more of them.

    Raises:
      ValueError: unknown space, option or value, naming the choices.
    """
    return make(text, SPACES, "space", **options)[0]
