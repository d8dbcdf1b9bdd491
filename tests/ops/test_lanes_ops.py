"""Convolutions of architectures side by side, against XLA's own of each by itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxproxy import ops

# kernel size, stride, dilation, groups, input channels, output channels
CONVS = (
    (1, 1, 1, 1, 3, 5),
    (1, 2, 1, 1, 3, 5),
    (2, 2, 1, 1, 3, 2),
    (3, 1, 1, 1, 3, 5),
    (3, 2, 1, 1, 3, 5),
    (3, 2, 2, 1, 2, 3),
    (3, 1, 1, 2, 4, 6),
    (3, 2, 1, 4, 4, 4),
    (5, 1, 2, 2, 2, 4),
)
NUM = 7  # lanes: no number of groups or channels above


def _draw(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def _xla(x: jax.Array, kernel: jax.Array, window: tuple[int, ...]) -> jax.Array:
    k, stride, dilation, groups = window
    pad = dilation * (k - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _all(conv: Any, x: jax.Array, kernel: jax.Array) -> Any:
    """Value, gradients, and the gradients' derivatives along the arguments."""

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sin(conv(x, kernel)).sum()

    gradients = jax.grad(loss, (0, 1))
    return conv(x, kernel), *jax.jvp(gradients, (x, kernel), (x, kernel))


BOTH, IMAGES, KERNELS = (0, 0), (0, None), (None, 0)
"""What differs from lane to lane."""


@pytest.mark.parametrize(
    ("case", "batched", "portable"),
    [
        *((case, BOTH, False) for case in CONVS),
        *((case, IMAGES, False) for case in CONVS[3:]),
        (CONVS[4], KERNELS, False),
        *((case, BOTH, True) for case in CONVS[4:7:2]),
        (CONVS[4], IMAGES, True),
    ],
)
def test_convolutions(
    case: tuple[int, ...], batched: tuple[int | None, int | None], portable: bool
) -> None:
    """Forward mode is not for portable ones, nor the second reverse mode for others."""
    k, stride, dilation, groups, inputs, outputs = case
    with jax.enable_x64(True):
        x = _draw(NUM, 2, 6, 6, inputs)
        kernel = _draw(NUM, k, k, inputs // groups, outputs, seed=1)
        x, kernel = (
            v if axis == 0 else v[0]
            for v, axis in zip((x, kernel), batched, strict=True)
        )
        options = {"stride": stride, "dilation": dilation, "groups": groups}
        ours = partial(ops.conv, **options, portable=portable)
        theirs = partial(_xla, window=(k, stride, dilation, groups))
        check = _gradients if portable else _all
        lanes = jax.vmap(partial(check, ours), in_axes=batched, axis_name=ops.LANES)
        one = [
            jax.jit(partial(check, theirs))(*(
                v[i] if axis == 0 else v
                for v, axis in zip((x, kernel), batched, strict=True)
            ))
            for i in range(2)
        ]  # fmt: skip
        text = jax.jit(lanes).lower(x, kernel).as_text()
        results = jax.jit(lanes)(x, kernel)
    for i, expected in enumerate(one):
        pairs = zip(*map(jax.tree.leaves, (results, expected)), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a[i], b, 1e-10, 1e-10 * float(np.abs(b).max()))
    assert f"group_count = {NUM}" not in text
    assert f"group_count = {NUM * groups}" not in text


def _gradients(conv: Any, x: jax.Array, kernel: jax.Array) -> Any:
    """Value, gradients, and the gradient of the gradients' norm."""

    def norm(x: jax.Array, kernel: jax.Array) -> jax.Array:
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jnp.sin(conv(x, kernel)).sum()

        return sum(jnp.square(g).sum() for g in jax.grad(loss, (0, 1))(x, kernel))

    return conv(x, kernel), jax.value_and_grad(norm, (0, 1))(x, kernel)


def test_other_platforms_decompose_all_lanes_at_once() -> None:
    """And a CPU one after another, where a batch could wait for itself for ever."""
    matrices = _draw(3, 4, 4).astype(jnp.float32)
    matrices = matrices @ matrices.swapaxes(1, 2)
    lanes = jax.vmap(ops.eigenvalues, axis_name=ops.LANES)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("arch",))
    spec = jax.P("arch")
    mapped = jax.shard_map(
        lanes, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
    assert "scan" in str(jax.make_jaxpr(mapped)(matrices))
    expected = np.linalg.eigvalsh(np.asarray(matrices))
    np.testing.assert_allclose(mapped(matrices), expected, 1e-4, 1e-4)


def test_lanes_are_known_inside_of_loops_and_gradients_only() -> None:
    seen = []

    def body(total: jax.Array, _: None) -> tuple[jax.Array, None]:
        seen.append(ops.in_lanes())
        return total * 2, None

    def loss(x: jax.Array) -> jax.Array:
        return lax.scan(body, x, None, length=2)[0]

    jax.grad(loss)(1.0)
    jax.vmap(jax.grad(loss))(jnp.ones(2))
    assert seen and not any(seen)
    seen.clear()
    jax.vmap(jax.grad(loss), axis_name=ops.LANES)(jnp.ones(2))
    assert seen and all(seen)
    assert not ops.in_lanes()
