"""Several objectives: who dominates whom, how crowded a front is, and its volume."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def non_dominated_ranks(fitness: Array) -> Array:
    """Returns the front of each point, int32[N]: 0 for those that nothing dominates.

    One dominates another if it is at least as good in all and better in one; front 1
    is what nothing dominates once front 0 is gone, and so on. Jittable.

    Args:
      fitness: float[N, K], higher is better; -inf is dominated by all that is finite.

    References:
      Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
      Transactions on Evolutionary Computation 6(2), 2002, section III-A.
    """
    one, other = fitness[:, None], fitness[None]
    dominates = (one >= other).all(-1) & (one > other).any(-1)

    def peel(state: tuple[Array, Array]) -> tuple[Array, Array]:
        ranks, front = state
        left = ranks < 0
        beaten = (dominates & left[:, None]).any(0)
        return jnp.where(left & ~beaten, front, ranks), front + 1

    ranks = jnp.full(len(fitness), -1, jnp.int32)
    first = jnp.zeros((), jnp.int32)
    return lax.while_loop(lambda s: (s[0] < 0).any(), peel, (ranks, first))[0]


def crowding(fitness: Array, ranks: Array) -> Array:
    """Returns how far the neighbours of each point in its front are, float32[N].

    The mean over objectives of the distance between the next better and the next worse
    of its front, in units of the range of the front; infinite for its ends.

    Args:
      fitness: float[N, K].
      ranks: int[N], of :func:`non_dominated_ranks`.

    References:
      Deb et al., NSGA-II, 2002, section III-B.
    """
    num = len(fitness)
    total = jnp.zeros(num, jnp.float32)
    for values in fitness.T:
        # A front is a run of this order, its best last: of ranks [0, 1, 0] and values
        # [3, 9, 2] it is [2, 0, 1].
        order = jnp.lexsort((values, ranks))
        front, sorted_values = ranks[order], values[order]
        begins = jnp.append(True, front[1:] != front[:-1])
        ends = jnp.append(begins[1:], True)
        low = sorted_values[lax.cummax(jnp.where(begins, jnp.arange(num), 0))]
        last = jnp.where(ends, jnp.arange(num), num - 1)
        high = sorted_values[lax.cummin(last, reverse=True)]
        spread = high - low
        gap = jnp.roll(sorted_values, -1) - jnp.roll(sorted_values, 1)
        # Where all are equal, as where all are -inf, there is no distance.
        share = jnp.where(spread > 0, gap / jnp.where(spread > 0, spread, 1.0), 0.0)
        distance = jnp.where(begins | ends, jnp.inf, share)
        total = total.at[order].add(distance)
    return total / fitness.shape[1]


def pareto_front(fitness: np.ndarray) -> np.ndarray:
    """Returns which points nothing dominates, bool[N]; of equal points, all (host).

    Args:
      fitness: float[N, K], higher is better; what is not finite is never in it.

    Raises:
      ValueError: it is no matrix.
    """
    fitness = np.asarray(fitness, float)
    if fitness.ndim != 2:
        raise ValueError(f"fitness is float[N, K], not {list(fitness.shape)}")
    kept = np.zeros(len(fitness), bool)
    left = np.flatnonzero(np.isfinite(fitness).all(1))
    # The first in lexicographic order is dominated by nothing that is left; what it
    # dominates goes, so that there are as many steps as members of the front.
    left = left[np.lexsort(-fitness[left].T[::-1])]
    while len(left):
        best, rivals = fitness[left[0]], fitness[left]
        kept[left[0]] = True
        beaten = (best >= rivals).all(1) & (best > rivals).any(1)
        beaten[0] = True
        left = left[~beaten]
    return kept


def hypervolume(fitness: np.ndarray, reference: np.ndarray) -> float:
    """Returns the area that two objectives dominate, above a reference point (host).

    Args:
      fitness: float[N, 2], higher is better; what is not finite counts for nothing.
      reference: float[2], the worst that counts.

    Raises:
      ValueError: other shapes; for more objectives, see ``pymoo.indicators.hv``.
    """
    fitness, reference = np.asarray(fitness, float), np.asarray(reference, float)
    if fitness.ndim != 2 or fitness.shape[1] != 2 or reference.shape != (2,):
        raise ValueError(
            "hypervolume takes float[N, 2] and a reference float[2], not "
            f"{list(fitness.shape)} and {list(reference.shape)}"
        )
    above = np.isfinite(fitness).all(1) & (fitness > reference).all(1)
    points = fitness[above] - reference
    # From the best first objective on, each adds what its second has more.
    points = points[np.lexsort((-points[:, 1], -points[:, 0]))]
    heights = np.maximum.accumulate(points[:, 1], axis=0)
    return float((points[:, 0] * np.diff(heights, prepend=0.0)).sum())
