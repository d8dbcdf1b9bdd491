"""The Fisher information of a classifier, by one element of each tensor."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Model, NetworkMeter, meter
from jaxproxy.meters._jacobian import logit_jacobian
from jaxproxy.ops import eigenvalues

_SMOOTHING = 0.05

Fisher = Literal["exact", "reference"]


@meter
def fisher_spectrum(*, fisher: Fisher = "exact", tensors: int = 128) -> NetworkMeter:
    r"""Magnitudes of the eigenvalues of the Fisher information, descending.

    Of the first element of each of the first ``tensors`` parameter tensors, with zeros
    behind where an architecture has fewer; float[1, min(P, tensors)]. For networks
    whose images do not depend on each other (``norm="fixed"``).

    Args:
      fisher: ``"exact"`` or ``"reference"``, see
        :func:`~jaxproxy.proxies.vkdnw_entropy`.
      tensors: how many tensors, in the network's order.

    Raises:
      ValueError: an unknown ``fisher``, or no tensors.

    References:
      Tybl and Neumann, VKDNW, 2025, section 3, arXiv:2502.04975.
    """
    if tensors < 1:
        raise ValueError(f"tensors must be at least 1, got {tensors}")

    def measure(model: Model) -> Array:
        logits, jacobian, present = logit_jacobian(model)
        order = jnp.argsort(~present, stable=True)[:tensors]
        chosen = jnp.where(present[order], jacobian[..., order], 0)
        matrix = _sampled_fisher(chosen, logits, fisher)
        return jnp.sort(jnp.abs(eigenvalues(matrix)))[::-1]

    return NetworkMeter(measure, cost="per class", classes=True, plain=False)


def _sampled_fisher(jacobian: Array, z: Array, fisher: str) -> Array:
    """Mean Fisher information float[P, P] of Jacobians float[B, K, P] of logits z."""
    p = jnp.exp(z - z.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    p = p * (1 - _SMOOTHING) + _SMOOTHING / p.shape[1]
    if fisher == "exact":
        mean = jnp.einsum("bk,bkp->bp", p, jacobian)
        weighted = jacobian * p[:, :, None]
        product = jnp.einsum("bkp,bkq->pq", weighted, jacobian) - mean.T @ mean
    else:
        factor = _cholesky_factors(p)
        rows = jnp.einsum("bij,bjp->bip", factor, jacobian)
        product = jnp.einsum("bip,biq->pq", rows, rows)
    return product / len(z)


def _cholesky_factors(p: Array) -> Array:
    """Lower factors of diag(p) - p p^T, float[B, K, K] (Tanabe and Sagae, 1992)."""
    rest = jnp.maximum(1 - jnp.cumsum(p, 1), 0)
    rest = rest.at[:, -1].set(0)
    before = jnp.concatenate([jnp.ones_like(rest[:, :1]), rest[:, :-1]], 1)
    diagonal = jnp.sqrt(p * rest / before)
    safe = jnp.where(rest > 0, rest, 1)
    below = -p[:, :, None] * (diagonal / safe)[:, None, :]
    lower = jnp.tril(jnp.ones(below.shape[1:], bool), -1)
    eye = jnp.eye(p.shape[1], dtype=p.dtype)
    return jnp.where(lower, below, 0) + diagonal[:, :, None] * eye
