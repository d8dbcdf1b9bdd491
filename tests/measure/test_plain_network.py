"""The plain form of NAS-Bench-201's network, and BatchNorm in its other modes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.measure import LOSSES, MeterSet, Tap, collect
from jaxproxy.meters import log_scale, saliency
from jaxproxy.spaces import Mode, nasbench201
from jaxproxy.types import Batch, Fidelity

SPACE = nasbench201()
SMALL = Fidelity(width=4, cells=2, batch_size=3, resolution=8)
CODES = [np.array(code, np.int32) for code in ([3, 1, 2, 4, 2, 3], [0, 4, 0, 2, 3, 1])]
X = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))


def _logits(network: Any) -> Any:
    return jax.jit(lambda p, x, code: network.apply(p, x, code, Tap(MeterSet(()))))


def test_the_plain_form_is_the_same_network():
    fast, plain = SPACE.network(SMALL, Mode()), SPACE.network(SMALL, Mode(plain=True))
    params = fast.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(jax.random.key(0)))
    of_fast, of_plain = _logits(fast), _logits(plain)
    for code in CODES:
        np.testing.assert_allclose(
            of_fast(params, X, code), of_plain(params, X, code), rtol=1e-4, atol=1e-5
        )


def test_blocks_in_a_row_are_the_network():
    network = SPACE.network(SMALL, Mode())
    params = network.init(jax.random.key(0))
    assert network.blocks is not None
    x = X
    for block in network.blocks(params, jnp.asarray(CODES[0])):
        layers = len(jax.tree.leaves(block.params)[0])
        for i in range(layers):
            x = block.apply(jax.tree.map(lambda leaf, i=i: leaf[i], block.params), x)
    assert x.shape == (3, 2, 2, 16)
    # What follows the last cell: BatchNorm, ReLU, pooling, classifier.
    x = (x - x.mean((0, 1, 2))) / jnp.sqrt(x.var((0, 1, 2)) + 1e-5)
    head = params["params"]
    logits = jax.nn.relu(x).mean((1, 2)) @ head["kernel"] + head["bias"]
    expected = _logits(network)(params, X, CODES[0])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_fixed_batch_norm_treats_images_one_by_one():
    network = SPACE.network(SMALL, Mode(norm="fixed"))
    params = network.init(jax.random.key(0))
    logits = _logits(network)
    together = logits(params, X, CODES[0])
    alone = [logits(params, X[i : i + 1], CODES[0])[0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-4, atol=1e-5)


def test_rescaling_changes_no_saliency():
    """In float64 the network without BatchNorm does not overflow: the plain sum."""
    with jax.enable_x64(True):
        network = SPACE.network(SMALL, Mode(weights="abs", norm="none"))
        params = network.init(jax.random.key(0))
        batch = Batch(jnp.ones((1, 8, 8, 3)), jnp.zeros(1, jnp.int32))
        meters = (saliency(), log_scale())

        @jax.jit
        def total(code: jax.Array) -> jax.Array:
            readings = collect(network, params, batch, code, meters, loss=LOSSES["sum"])
            scale = jnp.exp(readings[meters[1]].sum())
            return readings[meters[0]][:, 0].sum() * scale

        ours = [float(total(jnp.asarray(code))) for code in CODES]
        expected = [_synflow(params, code) for code in CODES]
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def _synflow(params: Any, code: np.ndarray) -> float:
    """Sum of |w dR/dw| of the network written out, without anything divided."""

    def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
        pad = kernel.shape[0] // 2
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), [(pad, pad)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    def pool(x: jax.Array) -> jax.Array:
        def sums(x: jax.Array) -> jax.Array:
            return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1,) * 4, "SAME")

        return sums(x) / sums(jnp.ones_like(x))

    def edge(op: int, x: jax.Array, tree: Any, row: int) -> jax.Array:
        if op == 0:
            return jnp.zeros_like(x)
        if op in (2, 3):
            return conv(x, tree["conv1" if op == 2 else "conv3"][row])
        return x if op == 1 else pool(x)

    def total(weights: Any) -> jax.Array:
        x = conv(jnp.ones((1, 8, 8, 3)), weights["stem"]["kernel"])
        for stage in range(3):
            if stage:
                tree = weights["reductions"][stage - 1]
                half = x.reshape(1, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1)
                y = conv(x, tree["conv_a"]["kernel"], 2)
                y = conv(y, tree["conv_b"]["kernel"])
                x = y + conv(half.mean((2, 4)), tree["down"])
            tree = weights["stages"][stage]
            for cell in range(SMALL.cells):
                a = x
                b = edge(code[0], a, tree, 6 * cell)
                c = edge(code[1], a, tree, 6 * cell + 1)
                c = c + edge(code[2], b, tree, 6 * cell + 2)
                x = sum(
                    edge(code[3 + i], node, tree, 6 * cell + 3 + i)
                    for i, node in enumerate((a, b, c))
                )
        return (x.mean((1, 2)) @ weights["kernel"]).sum()

    weights = params["params"]
    products = jax.tree.map(
        lambda w, g: jnp.abs(w * g).sum(), weights, jax.grad(total)(weights)
    )
    return float(jax.tree.reduce(jnp.add, products))
