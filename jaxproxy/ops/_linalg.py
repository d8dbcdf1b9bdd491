"""Decompositions of small matrices that several devices may make at once.

On CPU, jaxlib's batched decompositions wait, on a thread of XLA's pool, for other
threads of the same pool: programs of as many devices as the pool has threads wait for
each other for ever. So a batch is decomposed matrix by matrix, unless architectures are
side by side on another platform.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.ops._platform import in_lanes, platform


def eigenvalues(matrix: Array) -> Array:
    """Eigenvalues of a symmetric float[n, n], ascending, float[n]; without gradient."""
    return _by_lanes(_eigenvalues, lax.stop_gradient(matrix))


def log_determinant(matrix: Array) -> Array:
    """Logarithm of the magnitude of a determinant, float[]; without gradient."""
    return _by_lanes(_log_determinant, lax.stop_gradient(matrix))


def singular_values(matrix: Array) -> Array:
    """Singular values of a float[m, n], descending, float[min(m, n)]; no gradient.

    Not by the eigenvalues of the product with its transpose, which has half the digits:
    what are zeros in a matrix of low rank would add up to per cents of the largest.
    """
    return _by_lanes(_singular_values, lax.stop_gradient(matrix))


def _by_lanes(decompose: Callable[[Array], Array], matrix: Array) -> Array:
    """Matrices of all lanes in turn on CPU and where nothing is known, else at once."""
    at_once = in_lanes() and platform() not in (None, "cpu")
    turns = jax.custom_batching.sequential_vmap(decompose)
    return decompose(matrix) if at_once else turns(matrix)


def _eigenvalues(matrix: Array) -> Array:
    return jnp.linalg.eigvalsh(matrix)


def _singular_values(matrix: Array) -> Array:
    return jnp.linalg.svd(matrix, compute_uv=False)


def _log_determinant(matrix: Array) -> Array:
    return jnp.linalg.slogdet(matrix)[1]
