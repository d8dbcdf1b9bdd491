"""NAS-Bench-101 with equal weights: one channel per vertex gives what all give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.equal_weights import make_program

from jaxproxy.proxies import epsinas
from jaxproxy.proxies._epsinas import dispersion
from jaxproxy.spaces import nasbench101
from jaxproxy.spaces._nasbench101 import _codes as nb101
from jaxproxy.spaces._nasbench101._equal_weights import equal_weights
from jaxproxy.types import Batch, Fidelity

SPACE = nasbench101()
SMALL = Fidelity(width=5, cells=2)
WEIGHTS = (1e-4, 10.0)


def codes() -> np.ndarray:
    """The input alone, and graphs in which up to four vertices feed the output."""
    rng = np.random.default_rng(2)
    drawn = rng.integers(0, nb101.CHOICES, (4000, 26)).astype(np.int32)
    drawn = drawn[nb101.valid(drawn)]
    feeding = nb101.modules(drawn).matrix[:, 1:-1, -1].sum(1)
    chosen = [drawn[np.flatnonzero(feeding == n)[:2]] for n in range(1, 5)]
    alone = nb101.from_matrix([[0, 1], [0, 0]], ("input", "output"))
    return np.concatenate([alone[None], *chosen])


def convolved(x: jax.Array, out: int, size: int, weight: float) -> jax.Array:
    """Convolution by equal weights, BatchNorm in evaluation mode, ReLU."""
    kernel = jnp.full((size, size, x.shape[-1], out), weight)
    axes = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)
    return jax.nn.relu(weight * x / np.sqrt(1 + 1e-5))


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    shape, steps = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, shape, steps, "SAME")


def module(x: jax.Array, code: np.ndarray, channels: int, weight: float) -> jax.Array:
    matrix, ops, live = nb101.modules(code)
    widths, values = nb101.vertex_channels(matrix, channels), {}
    for v in np.flatnonzero(live[1:-1]) + 1:
        width = int(widths[v - 1])
        parts = [values[u][..., :width] for u in values if matrix[u, v]]
        if matrix[0, v]:
            parts.append(convolved(x, width, 1, weight))
        y = sum(parts[1:], parts[0])
        size = (3, 1, 0)[ops[v - 1]]
        values[v] = convolved(y, width, size, weight) if size else max_pool(y, 3, 1)
    feeding = [values[v] for v in values if matrix[v, -1]]
    result = [jnp.concatenate(feeding, -1)] if feeding else []
    if matrix[0, -1]:
        result.append(convolved(x, channels, 1, weight))
    return sum(result[1:], result[0])


def full_width(images: np.ndarray, code: np.ndarray, weight: float) -> jax.Array:
    """The logit float64[B] of the network with all its channels."""
    x = convolved(jnp.asarray(images, jnp.float64), SMALL.width, 3, weight)
    for stack in range(3):
        if stack:
            x = max_pool(x, 2, 2)
        for _ in range(SMALL.cells):
            x = module(x, code, SMALL.width << stack, weight)
            x = x / x.max()  # lest it underflow; every layer is homogeneous
    return weight * x.mean((1, 2)).sum(-1)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 8, 8, 3)).astype(np.float32)


def test_scores_are_those_of_all_channels(images: np.ndarray) -> None:
    with jax.enable_x64(True):
        batch = Batch(jnp.asarray(images), jnp.zeros(6, jnp.int32))
        program = make_program(epsinas(mode="stable"), SPACE, SMALL, batch)
        ours = jax.jit(lambda c: jax.lax.map(program, c))(jnp.asarray(codes()))
        theirs = [
            dispersion(*(full_width(images, code, w) for w in WEIGHTS))
            for code in codes()
        ]
        # Where all paths have equally many convolutions, the two outputs differ by a
        # factor, and the score is zero but for rounding.
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert (np.asarray(ours) > 1e-3).sum() >= 4


def test_float32_loses_what_it_loses(images: np.ndarray) -> None:
    """Where nothing underflows, both modes agree."""
    weights = (0.1, 10.0)
    with jax.enable_x64(True):
        batch = Batch(jnp.asarray(images), jnp.zeros(6, jnp.int32))
        paper, stable = (
            make_program(epsinas(mode=mode, weights=weights), SPACE, SMALL, batch)(
                jnp.asarray(codes()[5])
            )
            for mode in ("paper", "stable")
        )
        np.testing.assert_allclose(paper, stable, rtol=1e-4)


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match="enable_x64"):
        equal_weights(SMALL)
    with jax.enable_x64(True):
        network = equal_weights(SMALL)
        assert network.weights == WEIGHTS
        with pytest.raises(ValueError, match="multiple of 4 from 8"):
            network.stem(jnp.zeros((2, 6, 6, 3)), jnp.ones(()))
