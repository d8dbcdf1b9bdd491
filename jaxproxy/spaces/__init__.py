"""Search spaces: one file or folder a benchmark, and one row in :data:`SPACES`."""

from collections.abc import Callable
from typing import Any

from jaxproxy.options import make
from jaxproxy.spaces._anatomy import Anatomy, Model, anatomy, inspect
from jaxproxy.spaces._autoformer import autoformer
from jaxproxy.spaces._mobilenetv2 import mobilenetv2, mobilenetv2_mutation
from jaxproxy.spaces._mode import Mode, network_of
from jaxproxy.spaces._models import from_linen, from_nnx, model_space
from jaxproxy.spaces._nasbench101 import nasbench101
from jaxproxy.spaces._nasbench201 import nasbench201, nasbench201_supernet
from jaxproxy.spaces._nasbench_macro import nasbench_macro
from jaxproxy.spaces._nasbench_nlp import nasbench_nlp
from jaxproxy.spaces._natsbench_sss import natsbench_sss
from jaxproxy.spaces._records import (
    Constraint,
    Counts,
    DeviceFunctions,
    Graph,
    Isomorphism,
    Sizes,
    Task,
)
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._strings import Strings
from jaxproxy.spaces._transnasbench101 import transnasbench101_micro
from jaxproxy.spaces._usage import Loss, Output, Usage, Use

SPACES: dict[str, Callable[..., Space]] = {
    "autoformer": autoformer,
    "mobilenetv2": mobilenetv2,
    "nasbench101": nasbench101,
    "nasbench201": nasbench201,
    "nasbench201_supernet": nasbench201_supernet,
    "nasbench_macro": nasbench_macro,
    "nasbench_nlp": nasbench_nlp,
    "natsbench_sss": natsbench_sss,
    "transnasbench101_micro": transnasbench101_micro,
}
"""Every benchmark's space by name."""

__all__ = [
    "SPACES",
    "Anatomy",
    "Constraint",
    "Counts",
    "DeviceFunctions",
    "Graph",
    "Isomorphism",
    "Loss",
    "Mode",
    "Model",
    "Output",
    "Sizes",
    "Space",
    "Strings",
    "Task",
    "Usage",
    "Use",
    "anatomy",
    "from_linen",
    "from_nnx",
    "inspect",
    "mobilenetv2_mutation",
    "model_space",
    "network_of",
    "parse_space",
    *SPACES,
]


def parse_space(text: str, **options: Any) -> Space:
    """Returns the space of a name: ``"transnasbench101_micro(task=jigsaw)"``.

    Args:
      text: name in :data:`SPACES`, with or without options.
      **options: more of them.

    Raises:
      ValueError: unknown space, option or value, naming the choices.
    """
    return make(text, SPACES, "space", **options)[0]
