"""What is said of a user's model without running it: its size and its program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import Array

from jaxproxy.spaces import Anatomy, anatomy


def _of(function: Callable[[Array], Array], shape: tuple[int, ...]) -> Anatomy:
    class Model(linen.Module):
        @linen.compact
        def __call__(self, x: Array) -> Array:
            return function(x).reshape(len(x), -1)[:, :5]

    return anatomy("a", Model(), jnp.zeros((2, *shape)))


def _spike_vjp(slope: float) -> Callable[[Array], Array]:
    @jax.custom_vjp
    def spike(v: Array) -> Array:
        return (v > 0).astype(v.dtype)

    spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * slope,))
    return spike


def _spike_jvp(slope: float) -> Callable[[Array], Array]:
    @jax.custom_jvp
    def spike(v: Array) -> Array:
        return (v > 0).astype(v.dtype)

    spike.defjvp(lambda primals, tangents: (spike(*primals), tangents[0] * slope))
    return spike


def _array(scale: float) -> Callable[[Array], Array]:
    """A gradient that closes over an array."""

    @jax.custom_vjp
    def same(v: Array) -> Array:
        return v

    numbers = scale * np.arange(8, dtype=np.float32)
    same.defvjp(lambda v: (v, None), lambda _, g: (g * numbers,))
    return same


def _nested(slope: float) -> Callable[[Array], Array]:
    """A gradient whose own gradient has a slope."""
    inner = _spike_vjp(slope)

    @jax.custom_vjp
    def outer(v: Array) -> Array:
        return v

    outer.defvjp(lambda v: (v, v), lambda v, g: (g * inner(v),))
    return outer


def _jitted(scale: float) -> Callable[[Array], Array]:
    """An array that only a compiled function closes over."""
    numbers = scale * np.arange(8, dtype=np.float32)
    return jax.jit(lambda v: v * numbers)


def _in_a_loop(scale: float) -> Callable[[Array], Array]:
    numbers = scale * np.arange(8, dtype=np.float32)
    return lambda v: jax.lax.scan(lambda c, _: (c + numbers, None), v, length=2)[0]


@pytest.mark.parametrize(
    "make", [_spike_vjp, _spike_jvp, _array, _nested, _jitted, _in_a_loop]
)
def test_structure_is_all_that_a_model_closes_over(make: Any) -> None:
    """Not its forward program alone, and not what is printed of it."""
    first, again, second = (_of(make(s), (8,)).structure for s in (1.0, 1.0, 25.0))
    assert first == again
    assert first != second


def test_a_gradient_that_cannot_be_traced_is_like_no_other() -> None:
    """Since nobody can tell what its rule does."""

    def make() -> Callable[[Array], Array]:
        @jax.custom_vjp
        def odd(v: Array) -> Array:
            return v

        odd.defvjp(lambda v: (v, None), lambda _, g: (g[:, :1],))
        return odd

    assert _of(make(), (8,)).structure != _of(make(), (8,)).structure


@pytest.mark.parametrize("strides", [1, 2, 4, (1, 2)])
def test_a_transposed_convolution_does_not_count_the_zeros_in_between(
    strides: Any,
) -> None:
    """Every pixel meets every weight once, so the stride is nothing to it."""

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x: Array) -> Array:
            x = linen.ConvTranspose(8, (3, 3), strides=strides, use_bias=False)(x)
            return x.reshape(len(x), -1)

    strides = (strides, strides) if isinstance(strides, int) else strides
    macs = anatomy("a", Model(), jnp.zeros((2, 4, 4, 3))).num_macs
    assert macs == 4 * 4 * 3 * 3 * 3 * 8


def _convolution(x: Array, kernel: tuple[int, ...], **options: Any) -> Array:
    return jax.lax.conv_general_dilated(
        x, jnp.ones(kernel), dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


@pytest.mark.parametrize(
    ("kernel", "options", "macs"),
    [
        # Two groups of two channels each: a pixel's channel meets half the outputs.
        (
            (3, 3, 2, 6),
            {
                "feature_group_count": 2,
                "lhs_dilation": (2, 2),
                "padding": ((1, 1), (1, 1)),
            },
            25 * 9 * 2 * 6,
        ),
        ((3, 3, 2, 6), {"feature_group_count": 2, "padding": "SAME"}, 25 * 9 * 2 * 6),
        ((3, 3, 1, 4), {"feature_group_count": 4, "padding": "SAME"}, 25 * 9 * 4),
        # A dilated window has no more entries; one place for it in 5x5.
        ((3, 3, 4, 6), {"rhs_dilation": (2, 2), "padding": "VALID"}, 9 * 4 * 6),
        (
            (3, 3, 4, 6),
            {
                "lhs_dilation": (2, 2),
                "padding": ((2, 2), (2, 2)),
                "rhs_dilation": (2, 2),
            },
            25 * 9 * 4 * 6,
        ),
        # Inputs at 0, 2, 4, 6, 8 of 9; windows of three at 0, 3, 6: they meet
        # {0, 2}, {4}, {6, 8}, five along each axis.
        (
            (3, 3, 4, 6),
            {
                "lhs_dilation": (2, 2),
                "window_strides": (3, 3),
                "padding": ((0, 0), (0, 0)),
            },
            25 * 4 * 6,
        ),
    ],
)
def test_grouped_and_dilated_convolutions(
    kernel: tuple[int, ...], options: dict[str, Any], macs: int
) -> None:
    """By hand, of 5x5 pixels with four channels."""
    options = {"window_strides": (1, 1), **options}
    assert _of(lambda x: _convolution(x, kernel, **options), (5, 5, 4)).num_macs == macs


class _Own(linen.Module):
    """A matrix product that is no known layer, with the parameter of one."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        return x @ self.param("kernel", linen.initializers.lecun_normal(), (8, 5))


class _Named(linen.Module):
    layer: Any
    name_of_layer: str = "head"

    @linen.compact
    def __call__(self, x: Array) -> Array:
        return self.layer(name=self.name_of_layer)(x)


def test_structure_knows_names_and_kinds_of_parameters() -> None:
    """Weights of one structure are stacked, and read as of one kind."""

    def dense(name: str) -> linen.Module:
        return linen.Dense(5, use_bias=False, name=name)

    models = [
        _Named(_Own),
        _Named(dense),
        _Named(_Own, "other"),
        _Named(dense, "other"),
    ]
    found = [anatomy("a", model, jnp.zeros((2, 8))) for model in models]
    assert len({one.structure for one in found}) == 4
    assert [one.uncounted for one in found] == [
        ("head.kernel",),
        (),
        ("other.kernel",),
        (),
    ]
