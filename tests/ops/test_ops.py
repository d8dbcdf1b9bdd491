"""Operations against XLA's own, in float64: values, gradients, gradients of those."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxprs_in_params

from jaxproxy import ops
from jaxproxy.ops import _tiles

pytestmark = pytest.mark.usefixtures("optimised")

LAYOUT = ("NHWC", "HWIO", "NHWC")
# kernel size, stride, dilation, groups, input channels, output channels
CONVS = (
    (1, 1, 1, 1, 3, 5),
    (1, 2, 1, 1, 3, 5),
    (1, 1, 1, 2, 4, 6),
    (2, 2, 1, 1, 3, 2),
    (3, 1, 1, 1, 3, 5),
    (3, 2, 1, 1, 3, 5),
    (3, 1, 2, 1, 2, 3),
    (3, 2, 2, 1, 2, 3),
    (3, 1, 1, 2, 4, 6),
    (3, 2, 1, 4, 4, 4),
    (3, 1, 2, 2, 2, 4),
    (5, 1, 1, 3, 3, 3),
    (7, 2, 1, 4, 4, 4),
    (3, 1, 1, 1, 17, 2),  # as many channels as the narrow form does not take
    (5, 1, 1, 1, 2, 3),
    (5, 2, 2, 1, 2, 3),
)
POOLS = ((2, 2, 0), (3, 1, 1), (3, 2, 1), (5, 3, 2))


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def draw(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def check(ours: Any, reference: Any, rtol: float = 1e-10) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        assert a.dtype == b.dtype == jnp.float64
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol, atol=rtol * float(np.abs(b).max()))


def derivatives(op: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Value, gradients, and second derivatives, of one scalar.

    They are the gradients of the gradients' norm, and in forward mode the derivatives
    of the gradients along the arguments.
    """

    def loss(*args: jax.Array) -> jax.Array:
        # Curved, so that the cotangents depend on the value and differ everywhere.
        return jnp.sin(op(*args)).sum()

    def run(*args: jax.Array) -> Any:
        every = tuple(range(len(args)))
        first = jax.grad(loss, every)

        def norm(*args: jax.Array) -> jax.Array:
            return sum(jnp.square(g).sum() for g in first(*args))

        forward = jax.jvp(first, args, args)[1]
        return op(*args), first(*args), jax.grad(norm, every)(*args), forward

    return jax.jit(run)


def plain_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int, dilation: int, groups: int
) -> jax.Array:
    pad = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv_is_xlas_to_second_order(case: tuple[int, ...]) -> None:
    size, stride, dilation, groups, inputs, outputs = case
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    args = draw(2, 7, 6, inputs), draw(size, size, inputs // groups, outputs, seed=1)
    ours = derivatives(partial(ops.conv, **options))(*args)
    check(ours, derivatives(partial(plain_conv, **options))(*args))
    if size % 2:
        assert ours[0].shape[1:3] == (-(-7 // stride), -(-6 // stride))


@pytest.mark.parametrize("groups", [1, 2])
def test_conv_gradients_are_convs_gradients(groups: int) -> None:
    x, kernel, dy = draw(2, 6, 6, 4), draw(3, 3, 4 // groups, 4), draw(2, 3, 3, 4)
    options = {"stride": 2, "groups": groups}
    plain = partial(plain_conv, dilation=1, **options)
    _, backward = jax.vjp(plain, x, kernel)
    check(ops.conv_gradients(x, kernel, dy, **options), backward(dy))


@pytest.mark.parametrize("case", [(3, 2), (3, 1), (5, 2), (3, 3)], ids=str)
def test_conv_transpose_spreads_pixels_and_convolves(case: tuple[int, int]) -> None:
    size, stride = case
    high = size // 2 + stride - 1

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        config = [(0, 0, 0), *[(size // 2, high, stride - 1)] * 2, (0, 0, 0)]
        spread = lax.pad(x, jnp.zeros((), x.dtype), config)
        return lax.conv_general_dilated(
            spread, kernel[::-1, ::-1], (1, 1), "VALID", dimension_numbers=LAYOUT
        )

    args = draw(2, 3, 4, 3), draw(size, size, 3, 5, seed=1)
    ours = derivatives(partial(ops.conv_transpose, stride=stride))(*args)
    check(ours, derivatives(plain)(*args))
    assert ours[0].shape == (2, 3 * stride, 4 * stride, 5)


def test_conv_transpose_by_hand() -> None:
    """Two pixels in a row: a first pixel loses the first row and column of its own."""
    x = jnp.array([1.0, 10.0]).reshape(1, 1, 2, 1)
    kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    y = ops.conv_transpose(x, kernel, stride=2)[0, :, :, 0]
    expected = [[5, 6 + 40, 50, 60], [8, 9 + 70, 80, 90]]
    np.testing.assert_array_equal(y, expected)


def test_conv_keeps_float32() -> None:
    x, kernel = draw(1, 4, 4, 2).astype(jnp.float32), jnp.ones((3, 3, 2, 2), "float32")
    y, gradient = jax.value_and_grad(lambda k: ops.conv(x, k).sum())(kernel)
    assert y.dtype == gradient.dtype == jnp.float32


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_avg_pool_is_reduce_window(case: tuple[int, ...]) -> None:
    window, stride, padding = case
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))

    def plain(x: jax.Array) -> jax.Array:
        sums = partial(
            lax.reduce_window,
            init_value=0.0,
            computation=lax.add,
            window_dimensions=(1, window, window, 1),
            window_strides=(1, stride, stride, 1),
            padding=pads,
        )
        return sums(x) / sums(jnp.ones_like(x))

    x = draw(2, 7, 8, 3)
    ours = partial(ops.avg_pool, window=window, stride=stride, padding=padding)
    check(derivatives(ours)(x), derivatives(plain)(x))


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool_is_reduce_window(case: tuple[int, ...]) -> None:
    window, stride, padding = case
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))

    def plain(x: jax.Array) -> jax.Array:
        return lax.reduce_window(
            x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), pads
        )

    def both(op: Callable[[jax.Array], jax.Array]) -> Any:
        return jax.jit(jax.value_and_grad(lambda x: jnp.sin(op(x)).sum()))(x)

    x = draw(2, 7, 8, 3) - 5  # below zero, where a padding of zeros would win
    ours = partial(ops.max_pool, window=window, stride=stride, padding=padding)
    check(both(ours), both(plain))
    check(ours(x), plain(x))


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (6, 3)], ids=str)
def test_batch_norm_is_its_formula_to_second_order(shape: tuple[int, ...]) -> None:
    def plain(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        flat = x.reshape(-1, shape[-1])
        mean = flat.mean(0)[None]
        variance = ((flat - mean) ** 2).mean(0)[None]
        y = (flat - mean) / jnp.sqrt(variance + 1e-3) * scale[None] + bias[None]
        return y.reshape(shape)

    args = draw(*shape) * 2 + 7, draw(shape[-1], seed=1), draw(shape[-1], seed=2)
    ours = derivatives(lambda *args: ops.batch_norm(*args, 1e-3))(*args)
    check(ours, derivatives(plain)(*args), rtol=1e-9)


def test_batch_norm_of_a_constant_is_its_bias() -> None:
    args = jnp.full((2, 3, 3, 2), 4.0), jnp.array([2.0, 3.0]), jnp.array([0.5, -1.0])
    y, *others = derivatives(ops.batch_norm)(*args)
    check(y, jnp.broadcast_to(args[2], y.shape))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(others))


def gram_moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return ops.gram_moments(ops.gram_sums(x), math.prod(x.shape[:-1]))


@pytest.mark.parametrize("measure", [ops.moments, gram_moments])
def test_moments_are_numpys(measure: Callable[..., Any]) -> None:
    x = draw(3, 4, 5, 6) @ draw(6, 6, seed=1) + 2
    flat = np.asarray(x).reshape(-1, 6)
    check(measure(x), (flat.mean(0), np.cov(flat.T, ddof=0)))


def test_moments_of_float32_keep_their_digits_far_from_zero() -> None:
    x = (draw(64, 4, 4, 3) + 1000).astype(jnp.float32)
    flat = np.asarray(x, np.float64).reshape(-1, 3)
    covariance = np.cov(flat.T, ddof=0)
    np.testing.assert_allclose(ops.moments(x)[1], covariance, atol=1e-4)


def test_tiles_of_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tiles, "_TILE", 25)
    monkeypatch.setattr(_tiles, "_LARGE", 50)
    x = draw(3, 6, 2, 5)
    tiling = ops.Tiling.of(x.shape[1:])
    assert tiling == (3, 2)  # two images of 10 elements in 25
    assert ops.is_large(x.shape[1:]) and not ops.is_large((5, 2, 5))
    tiles, row = tiling.split(x), jnp.array(1, jnp.uint32)
    check(tiling.at(tiles, row, jnp.array(2)), x[1, 4:6])
    check(tiling.join(tiles), x)

    def double(k: jax.Array, tiles: jax.Array) -> jax.Array:
        return tiling.put(tiles, row, k, 2 * tiling.at(tiles, row, k))

    for when, factor in ((None, 2), (jnp.array(True), 2), (jnp.array(False), 1)):
        doubled = tiling.join(tiling.loop(double, tiles, when))
        check(doubled, x.at[1].multiply(factor))


def test_gradients_of_strides_are_plain_convolutions() -> None:
    """Dilated by the stride, a gradient would not be in XLA's fast form."""
    x, kernel = draw(2, 8, 8, 3), draw(3, 3, 3, 4)

    def loss(x: jax.Array) -> jax.Array:
        return ops.conv(x, kernel, stride=2).sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(x))
    assert "lhs_dilation=(1, 1)" in text
    assert "lhs_dilation=(2, 2)" not in text


def test_inside_loops_and_branches_as_outside() -> None:
    shapes = (3, 3, 4, 4), (1, 1, 4, 4), (3, 3, 1, 4)
    kernels = [draw(*shape, seed=i) for i, shape in enumerate(shapes, start=1)]
    scale, bias = draw(4, seed=4), draw(4, seed=5)
    branches = [
        lambda x: ops.conv(x, kernels[0], stride=2),
        lambda x: ops.avg_pool(ops.conv(x, kernels[1]), 2, stride=2),
        lambda x: ops.conv(x, kernels[2], groups=4, dilation=2, stride=2),
        lambda x: ops.max_pool(ops.batch_norm(x, scale, bias), 3, stride=2, padding=1),
    ]

    def one(op: Callable[[jax.Array], jax.Array], x: jax.Array) -> Any:
        return jax.value_and_grad(lambda x: jnp.sin(op(x)).sum())(x)

    xs = draw(5, 2, 6, 6, 4)
    choice = np.array([0, 1, 2, 3, 0])

    @jax.jit
    def inside(xs: jax.Array) -> Any:
        def switched(row: tuple[jax.Array, jax.Array]) -> Any:
            i, x = row
            return one(lambda x: lax.switch(i, branches, x), x)

        return lax.map(switched, (jnp.asarray(choice), xs))

    values, gradients = inside(xs)
    for i, op in enumerate(branches):
        rows = np.flatnonzero(choice == i)
        outside = jax.jit(lambda xs, op=op: [one(op, x) for x in xs])(xs[rows])
        check([(values[row], gradients[row]) for row in rows], outside)


@pytest.mark.parametrize(
    ("x", "kernel", "groups", "message"),
    [
        ((2, 4, 4, 3), (3, 3, 4, 5), 1, "does not fit 3 input channels"),
        ((2, 4, 4, 4), (3, 3, 2, 5), 2, "groups=2 does not fit"),
        ((2, 4, 4, 4), (3, 3, 4, 4), 4, "groups=4 does not fit 4"),
        ((4, 4, 3), (3, 3, 3, 5), 1, "4-d arrays"),
        ((2, 4, 4, 3), (3, 3, 5), 1, "4-d arrays"),
    ],
)
def test_conv_refuses(x: tuple, kernel: tuple, groups: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.conv(jnp.zeros(x), jnp.zeros(kernel), groups=groups)


@pytest.mark.parametrize("pool", [ops.avg_pool, ops.max_pool])
@pytest.mark.parametrize("padding", [-1, 2])
def test_pools_refuse_padding_as_wide_as_the_window(
    pool: Callable[..., jax.Array], padding: int
) -> None:
    with pytest.raises(ValueError, match=r"padding must be in \[0, 2\)"):
        pool(jnp.zeros((1, 4, 4, 1)), 2, padding=padding)


@pytest.mark.parametrize(
    "decompose", [ops.eigenvalues, ops.log_determinant, ops.singular_values]
)
def test_a_batch_is_decomposed_matrix_by_matrix(decompose) -> None:
    """On CPU, batched ones of two devices may wait for each other for ever."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 4, 4)).astype(np.float32)
    a += a.transpose(0, 2, 1)
    shapes = []

    def walk(jaxpr) -> None:
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("eigh", "lu", "svd"):
                shapes.append(equation.invars[0].aval.shape)
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(jax.vmap(decompose))(a).jaxpr)
    assert shapes == [(4, 4)]
    expected = {
        ops.eigenvalues: np.linalg.eigvalsh(a),
        ops.log_determinant: np.linalg.slogdet(a)[1],
        ops.singular_values: np.linalg.svd(a, compute_uv=False),
    }[decompose]
    np.testing.assert_allclose(jax.vmap(decompose)(a), expected, rtol=1e-4, atol=1e-5)


def test_singular_values_of_a_matrix_of_low_rank() -> None:
    """Those that are 0 stay below what float32 resolves, also in their sum."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 1)) @ rng.normal(size=(1, 192))
    values = ops.singular_values(jnp.asarray(a, jnp.float32))
    np.testing.assert_allclose(values.sum(), np.linalg.norm(a), rtol=1e-5)
