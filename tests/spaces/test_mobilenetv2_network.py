"""The network of the MobileNetV2 space against one of exact widths, written out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from references import plain_layers as plain
from references.plain_layers import convolve, normalised

from jaxproxy import meters
from jaxproxy.measure import MeterSet, Tap, collect, make_batch
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import mobilenetv2
from jaxproxy.spaces._mobilenetv2 import _codes as host
from jaxproxy.spaces._mobilenetv2._layers import Block, Layers, block, live
from jaxproxy.spaces._mode import Mode
from jaxproxy.testing import check_proxy
from jaxproxy.types import Fidelity

CLASSES, UNIT = 5, 1
SPACE = mobilenetv2(num_classes=CLASSES)
TINY = Fidelity(width=2 * UNIT, cells=2, batch_size=8, resolution=32)
COVARIANCE, GRADIENT = meters.covariance("conv"), meters.gradient("weights")
LOGITS = meters.logits()
BY_HAND = (
    "SuperConvK3BNRELU(3,24,2,1)SuperResIDWE4K5(24,24,2,24,2)"
    "SuperResIDWE1K7(24,40,2,16,1)SuperResIDWE6K3(40,48,2,64,1)"
    "SuperResIDWE2K5(48,32,1,32,2)SuperResIDWE2K3(32,64,2,48,2)"
    "SuperConvK1BNRELU(64,512,1,1)"
)
WIDEST = np.array(host.CHOICES) - 1
WIDEST[5:31:5] = 0, 0, 0, 1, 0, 1  # a pair of blocks a stage, lest it take long
CODES = {
    "narrowest": np.zeros(len(host.CHOICES), int),
    "widest": WIDEST,
    "one stage absent": SPACE.from_str(BY_HAND),
}


def blocks(code: np.ndarray, cells: int) -> list[tuple[Any, ...]]:
    """Name, level, place in it, stride, kernel, channels in, hidden and out."""
    width, found = UNIT * (int(code[0]) + 1), []
    for stage, stride in enumerate(host.STRIDES):
        k, e, out, middle, depth = map(int, code[1 + 5 * stage : 6 + 5 * stage])
        level, before = ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1))[stage]
        for j in range(2 * min(depth + (stride == 2), cells)):
            channels = UNIT * ((out if j % 2 else middle) + 1)
            hidden = (1, 2, 4, 6)[e] * channels
            place = 2 * cells * before + j
            step = stride if j == 0 else 1
            name = f"stages.{stage}.{j}"
            found.append((name, level, place, step, 3 + 2 * k, width, hidden, channels))
            width = channels
    return found


def weights(params: dict, code: np.ndarray, cells: int) -> dict[str, Array]:
    """Name -> kernel of the size of the architecture, of variance 2 over fan-in."""

    def part(kernel: Array, k: int, inputs: int, outputs: int) -> Array:
        full = np.prod(kernel.shape[:-1])
        cut = kernel[:k, :k, :inputs, :outputs]
        return cut * (full / np.prod(cut.shape[:-1])) ** 0.5

    stem, last = UNIT * (int(code[0]) + 1), 32 * UNIT * (int(code[-1]) + 1)
    found = {"stem.conv": part(params["stem"]["kernel"][0], 3, 3, stem)}
    width = stem
    for name, level, place, _, k, inputs, hidden, outputs in blocks(code, cells):
        layers = params[f"rest{level}" if place else f"first{level}"]
        rows = {n: layers[n][max(place - 1, 0)] for n in layers}
        found[f"{name}.expand.conv"] = part(rows["expand"], 1, inputs, hidden)
        found[f"{name}.depthwise.conv"] = part(rows["depthwise"], k, 1, hidden)
        found[f"{name}.project.conv"] = part(rows["project"], 1, hidden, outputs)
        width = outputs
    found["last.conv"] = part(params["last"]["kernel"][0], 1, width, last)
    head = params["head"]["kernel"]
    found["classifier"] = head[:last] * (len(head) / last) ** 0.5
    return found


def unrolled(
    kernels: dict[str, Array], x: Array, code: np.ndarray, cells: int
) -> tuple[Array, dict[str, Array]]:
    """Logits, and the output of every convolution."""
    outputs = {}

    def conv_bn(name: str, x: Array, stride: int = 1, groups: int = 1) -> Array:
        y = convolve(x, kernels[f"{name}.conv"], stride, groups)
        outputs[f"{name}.conv"] = y
        return normalised(y)

    x = jnp.maximum(conv_bn("stem", x, 2), 0)
    for name, _, _, stride, _, inputs, hidden, width in blocks(code, cells):
        y = jnp.maximum(conv_bn(f"{name}.expand", x), 0)
        y = jnp.maximum(conv_bn(f"{name}.depthwise", y, stride, hidden), 0)
        y = conv_bn(f"{name}.project", y)
        if stride == 1 and inputs == width:
            y = y + x
        x = jnp.maximum(y, 0)
    x = jnp.maximum(conv_bn("last", x), 0)
    return x.mean((1, 2)) @ kernels["classifier"], outputs


def read_all(*measured: meters.Meter) -> Any:
    """What a program reads of a code, its parameters and the batch."""
    network = SPACE.network(TINY, Mode())
    batch = make_batch(jax.random.key(1), TINY, CLASSES)
    batch = batch._replace(x=batch.x.astype(float))
    params = jax.jit(network.init)(jax.random.key(0))

    @jax.jit
    def read(code: Array) -> Any:
        assert network.choose is not None
        chosen = network.choose(params, code)
        return collect(network, chosen, batch, code, measured)

    return read, params["params"], batch


def test_readings_are_those_of_an_exact_network() -> None:
    """Logits, activations and gradients of the extremes and of a stage left out."""
    # In float32, BatchNorm of so few pixels leaves two digits of some gradients.
    with jax.enable_x64(True):
        read, params, batch = read_all(COVARIANCE, GRADIENT, LOGITS)
        for code in CODES.values():
            readings = read(jnp.asarray(code, jnp.int32))
            kernels = weights(params, code, TINY.cells)

            def loss(kernels: dict[str, Array], code: np.ndarray = code) -> Any:
                logits, outputs = unrolled(kernels, batch.x, code, TINY.cells)
                return plain.cross_entropy(logits, batch.y), (logits, outputs)

            differentiate = jax.jit(jax.grad(loss, has_aux=True))
            gradients, (logits, outputs) = differentiate(kernels)
            np.testing.assert_allclose(readings[LOGITS][0], logits, 1e-6, 1e-6)
            theirs = {name: plain.covariance(y) for name, y in outputs.items()}
            plain.assert_same(plain.present(readings, COVARIANCE), theirs)
            theirs = {f"{n}.weight": plain.spread(g) for n, g in gradients.items()}
            plain.assert_same(plain.present(readings, GRADIENT), theirs)


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("inputs", [3, 4])
def test_blocks_add_their_input_if_the_shapes_agree(skips: bool, inputs: int) -> None:
    mode = Mode("kaiming", "batch", False)
    layers = Layers(1, 4, 4, mode, nnx.Rngs(0)).stacked()
    params = jax.tree.map(lambda leaf: leaf[0], layers)
    x = live(jax.random.normal(jax.random.key(1), (2, 6, 6, 4)), jnp.int32(inputs))
    spec = Block(*map(jnp.int32, (1, 1, inputs, 8, 4)))
    given = block("", x, params, spec, mode, Tap(MeterSet(())), skips=skips)
    y = convolve(x, params.expand.kernel[..., :8])
    kernel = params.depthwise.kernel[:5, :5, :, :8]
    y = convolve(jnp.maximum(normalised(y), 0), kernel, 1, 8)
    y = convolve(jnp.maximum(normalised(y), 0), params.project.kernel[..., :8, :])
    added = x if skips and inputs == 4 else 0
    expected = jnp.maximum(normalised(y) + added, 0)
    np.testing.assert_allclose(given, expected, 1e-4, 1e-4)


def test_proxies_share_one_program() -> None:
    tiny = Fidelity(width=2, cells=1, batch_size=4, resolution=32)
    scorer = make_scorer(
        SPACE, ["capacity", "naswot"], fidelity=tiny, devices=1, block_size=6
    )
    for proxy in scorer.proxies:
        check_proxy(proxy, SPACE, fidelity=tiny, scorer=scorer)
    assert scorer.num_traces == 1


def test_stages_deeper_than_the_fidelity_are_cut() -> None:
    """With one cell, five sub-layers are one."""
    deep, shallow = np.zeros((2, len(host.CHOICES)), int)
    deep[5::5][:6] = [4, 4, 4, 5, 4, 5]
    shallow[[20, 30]] = 1
    assert len(blocks(deep, 1)) == len(blocks(shallow, 1)) == 12
    assert len(blocks(deep, 5)) == 60
