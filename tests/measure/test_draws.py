"""Numbers of all tensors at once are those of JAX, and compile one generator."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxproxy.measure import NORMS, Draws, drawn
from jaxproxy.measure._random import normals
from jaxproxy.spaces import SPACES, Mode
from jaxproxy.types import Fidelity

WANTED = [(0, 5), (2, 1024), (3, 3000), (9, 1)]


def _each(key: jax.Array) -> list[jax.Array]:
    return [jax.random.normal(jax.random.fold_in(key, i), (n,)) for i, n in WANTED]


@pytest.mark.smoke
def test_normals_are_those_of_jax() -> None:
    key = jax.random.key(7)
    numbers = jax.jit(partial(normals, wanted=WANTED))(key)
    for given, expected in zip(numbers, _each(key), strict=True):
        assert given.dtype == jnp.float32
        np.testing.assert_array_equal(given, expected)


def test_normals_of_another_generator() -> None:
    key = jax.random.key(7, impl="rbg")
    chex.assert_trees_all_equal(normals(key, WANTED), _each(key))


def test_normals_in_float64() -> None:
    with jax.enable_x64(True):
        key = jax.random.key(7)
        numbers = normals(key, WANTED)
        assert all(z.dtype == jnp.float64 for z in numbers)
        chex.assert_trees_all_equal(numbers, _each(key))


def test_no_numbers() -> None:
    assert normals(jax.random.key(0), []) == []


def test_one_generator_is_compiled() -> None:
    of_many = [(i, 100 * (i + 1)) for i in range(30)]
    few, many = (
        str(jax.make_jaxpr(partial(normals, wanted=wanted))(jax.random.key(0)))
        for wanted in (WANTED, of_many)
    )
    assert few.count("= threefry2x32") == many.count("= threefry2x32") > 0


class _Mixed(nnx.Module):
    def __init__(self, draws: Draws | nnx.Rngs) -> None:
        def normal(size: int) -> jax.Array:
            if isinstance(draws, Draws):
                return draws.normal(size)
            return jax.random.normal(draws.params(), (size,))

        key = draws.key if isinstance(draws, Draws) else draws.params
        self.first = nnx.Param(normal(6).reshape(2, 3))
        self.words = nnx.Param(jax.random.uniform(key(), (4,)))
        self.last = nnx.Param(normal(2000))


def test_drawn_module_is_that_of_rngs() -> None:
    ours, theirs = drawn(_Mixed)(nnx.Rngs(3)), _Mixed(nnx.Rngs(3))
    chex.assert_trees_all_equal(
        nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(theirs))
    )


@pytest.mark.parametrize("name", sorted(SPACES))
def test_weights_are_the_same_in_every_mode(name: str) -> None:
    """So the passes of a scheme share them."""
    space = SPACES[name]()
    fidelity = Fidelity(width=8, cells=1, batch_size=2, resolution=32)

    def init(norm: str, **options: bool) -> Any:
        network = space.network(fidelity, Mode(norm=norm, **options))
        return jax.jit(network.init)(jax.random.key(0))

    expected = init("batch")
    for norm in NORMS:
        chex.assert_trees_all_equal(init(norm), expected)
    chex.assert_trees_all_equal(init("batch", plain=True), expected)
