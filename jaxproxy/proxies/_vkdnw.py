"""VKDNW: the entropy of the spectrum of a sampled Fisher information matrix."""

import jax.numpy as jnp
import numpy as np

from jaxproxy.meters import first_gradient, logits
from jaxproxy.ops import eigenvalues
from jaxproxy.proxies._proxy import Proxy
from jaxproxy.readings import Readings
from jaxproxy.setups import Setup, check_choices
from jaxproxy.types import Array

__all__ = ["num_tensors", "sampled_fisher", "vkdnw_entropy"]

_PAPER = "Tybl and Neumann, VKDNW, 2025, arXiv:2502.04975"
_SMOOTHING = 0.05


def num_tensors() -> Proxy:
    """Named parameter tensors of the network that is trained: VKDNW's dimension."""

    def count(space: object, codes: np.ndarray) -> np.ndarray:
        counted = getattr(space, "num_tensors", None)
        if counted is None:
            name = getattr(space, "name", space)
            raise ValueError(f"{name} does not count its parameter tensors")
        return np.asarray(counted(codes), float)

    return Proxy("num_tensors", count=count, reference=_PAPER)


def vkdnw_entropy(*, fisher: str = "exact", tensors: int = 128) -> Proxy:
    r"""Entropy of the deciles of the spectrum of the Fisher information.

    Of the first element of each of the first ``tensors`` parameter tensors;
    :math:`-\sum_i t_i \log t_i` over the nine deciles of the eigenvalues, normalised to
    sum 1. BatchNorm is in evaluation mode. A backward pass for every image and class.

    Args:
      fisher: ``"exact"``, :math:`J^\top(\mathrm{diag}\,p - pp^\top)J`, or
        ``"reference"``: with the Cholesky factor L of the middle, the published code
        computes :math:`J^\top L^\top L J`.
      tensors: how many tensors, in the network's order.
    """
    check_choices(fisher=(fisher, ("exact", "reference")))
    if tensors < 1:
        raise ValueError(f"tensors must be at least 1, got {tensors}")
    setup = Setup(norm="fixed", loss="logit", single=True)
    gradients, outputs = first_gradient().under(setup), logits().under(setup)

    def score(readings: Readings) -> Array:
        z = readings[outputs][:, 0, 0]  # every image K times
        classes = z.shape[1]
        z = z[::classes]
        present = readings.present(gradients)
        used = present & (jnp.cumsum(present) <= tensors)
        # Zero rows and columns only add zeros to the spectrum.
        jacobian = jnp.where(used, readings[gradients], 0)
        matrix = sampled_fisher(jacobian.reshape(len(z), classes, -1), z, fisher)
        spectrum = jnp.sort(jnp.abs(eigenvalues(matrix)))[::-1]
        return _entropy_of_deciles(spectrum, used.sum())

    return Proxy(
        "vkdnw_entropy", meters=(gradients, outputs), score=score, reference=_PAPER
    )


def sampled_fisher(jacobian: Array, z: Array, fisher: str) -> Array:
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


def _entropy_of_deciles(descending: Array, count: Array) -> Array:
    """Of the first ``count`` of the eigenvalues, linearly interpolated."""
    last = count.astype(jnp.int32) - 1
    quantiles = jnp.linspace(0.1, 0.9, 9, dtype=descending.dtype)
    places = quantiles * last.astype(descending.dtype)
    low = jnp.floor(places).astype(jnp.int32)
    high = jnp.minimum(low + 1, last)
    part = places - low.astype(places.dtype)
    deciles = descending[low] * (1 - part) + descending[high] * part
    t = deciles / (jnp.abs(deciles).sum() + 1e-10)
    return -(t * jnp.log(t + 1e-10)).sum()
