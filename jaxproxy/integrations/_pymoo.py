"""A space as a problem of pymoo, and operators that keep codes valid (host code)."""

from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from jaxproxy.integrations._objectives import Objectives
from jaxproxy.options import check_choices
from jaxproxy.search import Budget
from jaxproxy.spaces import Space

if TYPE_CHECKING:
    from pymoo.core.problem import Problem

Distinct = Literal["class", "code"]
_NO_LIMIT = Budget()


def make_problem(objectives: Objectives, *, budget: Budget = _NO_LIMIT) -> "Problem":
    """Returns a problem whose variables are codes, to be solved by :func:`minimize`.

    A population is scored in one call. Objectives that are to be high are negated:
    ``result.F * objectives.signs`` are scores again. Every limit of the budget is a
    constraint, how far an architecture is above it, as a part of it; what is above is
    not scored. One more constraint refuses what has no finite value. Objectives of
    both are NaN, and neither is ever in ``result.F``.

    Args:
      objectives: what is optimised.
      budget: what an architecture may cost.

    Raises:
      ImportError: pymoo is not installed.
    """
    return _classes().ArchitectureProblem(objectives, budget)


def make_operators(space: Space, *, distinct: Distinct = "class") -> dict[str, Any]:
    """Returns sampling, crossover, mutation and elimination of duplicates.

    They are the arguments of pymoo's genetic algorithms:
    ``NSGA2(pop_size=64, **make_operators(space))``. All codes that they make are
    architectures: ``space.sample``, ``space.crossover`` of two parents with a
    probability of .9, and then one gene changed by ``space.mutate``. Where a space has
    no child or mutant, it is a parent.

    Args:
      space: of the architectures.
      distinct: what is kept once: architectures of an isomorphism ``"class"``, or of
        the same ``"code"``. Members of a class may differ in costs, such as parameters
        of operations that cannot be reached: the first that comes is kept.

    Raises:
      ValueError: another word than the two.
      ImportError: pymoo is not installed.
    """
    check_choices(distinct=(distinct, ("class", "code")))
    classes = _classes()
    return {
        "sampling": classes.SpaceSampling(space),
        "crossover": classes.SpaceCrossover(space),
        "mutation": classes.SpaceMutation(space),
        "eliminate_duplicates": classes.SpaceDuplicates(space, distinct == "class"),
    }


def _classes() -> ModuleType:
    try:
        from jaxproxy.integrations import _pymoo_classes
    except ImportError as error:
        raise ImportError(
            f"this needs pymoo ({error}); pip install 'jaxproxy[pymoo]'"
        ) from error
    return _pymoo_classes
