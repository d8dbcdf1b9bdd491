"""Heads of TransNAS-Bench-101's tasks: counts, layers written out, losses, errors."""

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array, lax
from references import plain_layers as plain

from jaxproxy import meters
from jaxproxy.measure import (
    Draws,
    MeterSet,
    Model,
    Network,
    Recorder,
    Tap,
    collect,
    cross_entropy,
    drawn,
    network_from_tapped,
)
from jaxproxy.meters import _jacobian as jacobian
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import transnasbench101_micro
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._transnasbench101 import _codes as host
from jaxproxy.spaces._transnasbench101._heads import make_head
from jaxproxy.types import Batch, Fidelity

TINY = Fidelity(width=4, cells=1, batch_size=2, resolution=32)
MODE = Mode("kaiming", "batch", plain=False)
DECODED = ("autoencoder", "normal", "segmentsemantic")
METERS = (meters.covariance("conv"), meters.gradient("weights"))
NONE = np.zeros(6, int)


class _Shapes(Tap):
    """Notes shapes."""

    def __init__(self) -> None:
        super().__init__(Recorder(MeterSet(()), planning=True))
        self.activations: dict[str, tuple[int, ...]] = {}
        self.parameters: dict[str, tuple[int, ...]] = {}

    def __call__(
        self, name: str, x: Array, kind: str = "activation", live: Array | None = None
    ) -> Array:
        self.activations[name] = x.shape
        return super().__call__(name, x, kind, live)

    def parameter(
        self, name: str, weight: Array, kind: str, size: Array | None = None
    ) -> Array:
        self.parameters[name] = weight.shape
        return super().parameter(name, weight, kind, size)


def _recorded(task: str, side: int) -> tuple[_Shapes, tuple[int, ...]]:
    """What the head taps behind 512 channels, and the shape of its output."""
    tap, rows = _Shapes(), host.TILES if task == "jigsaw" else 1

    def run(x: Array) -> Array:
        return make_head(task, host.WIDTH, MODE, nnx.Rngs(0))("head", x, tap)

    features = jax.ShapeDtypeStruct((rows, side, side, 512), jnp.float32)
    return tap, jax.eval_shape(run, features).shape


@pytest.mark.parametrize("task", host.TASKS)
def test_counts_are_those_of_the_head(task: str) -> None:
    tap, output = _recorded(task, side=2)
    stem = 27 * 32 + 64 + 9 * 32 * 64 + 128
    params = sum(map(math.prod, tap.parameters.values()))
    assert host.num_params(NONE, task=task) == stem + params
    assert host.num_tensors(NONE, task=task) == 6 + len(tap.parameters)
    # The number of products of a transposed convolution is that of its input's pixels.
    before, work = 2 * 2, 0
    for name, shape in tap.activations.items():
        if f"{name}.weight" in tap.parameters and not name.endswith("bn"):
            pixels = math.prod(shape[1:-1])
            kernel = math.prod(tap.parameters[f"{name}.weight"])
            work += kernel * min(pixels, before) + shape[-1] * pixels
            before = pixels
    images = host.TILES if task == "jigsaw" else 1
    stem = 27 * 32 * 32**2 + 9 * 32 * 64 * 16**2
    macs = host.num_macs(NONE, task=task, resolution=64)
    assert macs == images * stem + work
    last = (64, 64) if task in DECODED else ()
    assert output == (1, *last, host.TASKS[task])


def test_counts_by_hand() -> None:
    stem = 27 * 32 + 64 + 9 * 32 * 64 + 128
    assert host.num_params(NONE, task="jigsaw") == stem + (9 * 512 + 1) * 1000
    along = [512, 1024, 512, 256, 128, 64, 32, 32, 17]
    pairs = list(itertools.pairwise(along))
    params = sum((9 * a + 1) * b for a, b in pairs) + 2 * sum(along[1:-1])
    assert host.num_params(NONE, task="segmentsemantic") == stem + params
    assert host.num_tensors(NONE, task="segmentsemantic") == 6 + 7 * 4 + 2
    along = [512, 1024, 1024, 512, 512, 256, 128, 64, 64, 32, 32, 16, 32, 16, 3]
    pairs = list(itertools.pairwise(along))
    params = sum((9 * a + 1) * b for a, b in pairs) + 2 * sum(along[1:-1])
    assert host.num_params(NONE, task="normal") == stem + params
    # On images of 32 pixels, with kernels on maps of 1 pixel up to those of 32.
    sides = [1, 1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32]
    work = sum(9 * a * b * s**2 for (a, b), s in zip(pairs, sides[:-1], strict=True))
    work += sum(b * s**2 for (_, b), s in zip(pairs, sides[1:], strict=True))
    backbone = 27 * 32 * 16**2 + 9 * 32 * 64 * 8**2
    assert host.num_macs(NONE, task="normal", resolution=32) == backbone + work
    # Cells count as they do with any head, nine times in a jigsaw; 64 by default.
    code = np.array([1, 2, 3, 3, 1, 3])
    bare, nine = (
        int(host.num_macs(code, task=t, resolution=64) - host.num_macs(
            NONE, task=t, resolution=64)) for t in ("normal", "jigsaw")
    )  # fmt: skip
    assert nine == 9 * bare > 0
    default = host.num_macs(code, task="jigsaw")
    assert default == host.num_macs(code, task="jigsaw", resolution=64)


class _Alone(nnx.Module):
    """A head without a network before it."""

    def __init__(self, task: str, draws: Draws) -> None:
        self.head = make_head(task, TINY.width, MODE, draws)

    def __call__(self, x: Array, code: Array | None, tap: Tap) -> Array:
        return self.head("head", x, tap)


def _transposed(x: Array, kernel: Array) -> Array:
    """Pixels spread by one, and a convolution with the kernel turned around."""
    config = [(0, 0, 0), (1, 2, 1), (1, 2, 1), (0, 0, 0)]
    spread = lax.pad(x, jnp.float32(0), config)
    return lax.conv_general_dilated(
        spread, kernel[::-1, ::-1], (1, 1), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


@pytest.mark.parametrize("task", ["normal", "segmentsemantic"])
def test_readings_are_those_of_a_decoder_written_out(task: str) -> None:
    space = transnasbench101_micro(task=task)
    network = network_from_tapped(drawn(partial(_Alone, task)))
    params = jax.jit(network.init)(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 1, 1, 8 * TINY.width))
    y = space.task.batch(jax.random.key(2), TINY).y
    read = jax.jit(partial(collect, network, meters=METERS, loss=space.task.loss))
    readings = read(params, Batch(x, y), None)
    head = params["params"]["head"]
    hidden = head["hidden"]
    kernels = [hidden[i]["conv"]["kernel"] for i in range(len(hidden))]
    kernels.append(head["last"]["kernel"])
    weights = {f"head.{i}.conv": kernel for i, kernel in enumerate(kernels)}
    doubled = (4, 6, 8, 10, 12) if task == "normal" else (2, 3, 4, 5, 6)

    def loss(weights: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        outputs, h = {}, x
        for i, (name, kernel) in enumerate(weights.items()):
            h = (_transposed if i in doubled else plain.convolve)(h, kernel)
            outputs[name] = h
            if i < len(weights) - 1:
                h = plain.normalised(h)
                h = jnp.maximum(h, 0.2 * h)
        if task == "normal":
            return jnp.abs(jnp.tanh(h) - y).mean(), outputs
        return plain.cross_entropy(h.reshape(-1, 17), y.reshape(-1)), outputs

    # In the order of the layers: jit sorts names, and 10 comes before 2.
    def ordered(weights: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        return loss({name: weights[name] for name in order})

    order = list(weights)
    plain.assert_same_readings(readings, METERS, ordered, weights)


def test_jigsaw_joins_the_tiles_of_an_image() -> None:
    network = network_from_tapped(drawn(partial(_Alone, "jigsaw")))
    params = network.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (18, 2, 2, 32))
    logits = network.apply(params, x, None, _Shapes())
    kernel = params["params"]["head"]["kernel"]
    means = x.mean((1, 2))
    first, second = means[:9].reshape(-1), means[9:].reshape(-1)
    expected = np.stack([first @ kernel, second @ kernel])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", host.TASKS)
def test_noise_and_loss_fit_the_outputs(task: str) -> None:
    space = transnasbench101_micro(task=task)
    network, draw = space.network(TINY, Mode()), space.task.draw
    if draw is None:
        return
    batch = jax.eval_shape(lambda key: draw(key, TINY), jax.random.key(0))
    params = jax.eval_shape(network.init, jax.random.key(0))
    code = jax.ShapeDtypeStruct((6,), jnp.int32)
    tap = Tap(Recorder(MeterSet(()), planning=True))
    outputs = jax.eval_shape(
        lambda params, x, code: network.apply(params, x, code, tap),
        params, batch.x, code,
    )  # fmt: skip
    images, classes = (2, 32, 32), space.task.num_outputs
    assert outputs.shape == ((*images, classes) if task in DECODED else (2, classes))
    assert batch.x.shape == ((2, 9, 32, 32, 3) if task == "jigsaw" else (*images, 3))
    targets = {"jigsaw": (2,), "room_layout": (2, 9), "segmentsemantic": images}
    assert batch.y.shape == targets.get(task, (*images, 3))
    drawn = draw(jax.random.key(1), TINY)
    if task in ("jigsaw", "segmentsemantic"):
        assert drawn.y.dtype == jnp.int32
        assert 0 <= drawn.y.min() < drawn.y.max() < classes
    else:
        assert np.array_equal(drawn.x, drawn.y) == (task == "autoencoder")


def test_losses_by_hand() -> None:
    outputs = jnp.array([[0.5, -1.0], [2.0, 0.0]]).reshape(1, 1, 2, 2)
    targets = jnp.array([[1.0, -1.0], [0.0, 4.0]]).reshape(1, 1, 2, 2)
    for task in ("autoencoder", "normal"):
        loss = transnasbench101_micro(task=task).task.loss
        assert loss(outputs, targets) == (0.5 + 0 + 2 + 4) / 4
    loss = transnasbench101_micro(task="segmentsemantic").task.loss
    # Pixels of classes 1 and 0, with probabilities 1 / (1 + e^1.5) and 1 / (1 + e^-2).
    expected = (math.log1p(math.exp(1.5)) + math.log1p(math.exp(-2))) / 2
    found = loss(outputs, jnp.array([[[1, 0]]]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert transnasbench101_micro(task="jigsaw").task.loss is cross_entropy


@pytest.mark.parametrize("task", [*DECODED, "room_layout"])
def test_targets_of_another_shape_are_refused(task: str) -> None:
    loss = transnasbench101_micro(task=task).task.loss
    with pytest.raises(ValueError, match=r"targets of this task are .*, not \[2\]"):
        loss(jnp.zeros((2, 4, 4, 3)), jnp.zeros(2))


def test_sizes_that_do_not_fit_are_refused() -> None:
    normal, jigsaw = (transnasbench101_micro(task=t) for t in ("normal", "jigsaw"))
    with pytest.raises(ValueError, match=r"width / 4 .* multiple of 4, not 6"):
        normal.network(Fidelity(6, 1, 2, 32), Mode())
    with pytest.raises(
        ValueError, match=r"decoder of normal .* multiple of 32, not 48"
    ):
        normal.network(Fidelity(4, 1, 2, 48), Mode())
    network = jigsaw.network(Fidelity(4, 1, 2, 48), Mode())
    params = jax.eval_shape(network.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"9 tiles of each .* not \[2, 32, 32, 3\]"):
        jax.eval_shape(
            lambda params: network.apply(
                params, jnp.zeros((2, 32, 32, 3)), jnp.zeros(6, int), _Shapes()
            ),
            params,
        )


def test_what_needs_logits_says_so() -> None:
    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        return x + tap.parameter("weight", jnp.zeros(()), "linear_w")

    network = Network(lambda key: {}, apply)
    pixels = Batch(jnp.zeros((2, 4, 4, 3)), jnp.zeros((2, 4, 4), int))
    model = Model(network, {}, pixels, None, jax.random.key(0))
    constants = meters.accuracies_of_constants((1.0,))
    for meter in (meters.tangent_kernel(), meters.classes(), constants):
        with pytest.raises(ValueError, match=r"not outputs \[2, 4, 4, 3\]"):
            meter.measure(model)
    with pytest.raises(ValueError, match=r"not outputs \[2, 4, 4, 3\]"):
        jacobian.logit_jacobian(model)
    layout = model._replace(batch=Batch(jnp.zeros((2, 9)), jnp.zeros((2, 9))))
    for meter in (meters.classes(), constants):
        with pytest.raises(ValueError, match=r"not targets \[2, 9\]"):
            meter.measure(layout)


@pytest.mark.parametrize(
    ("task", "proxies"),
    [
        ("jigsaw", ["intrain", "capacity", "grad_norm", "snip", "naswot"]),
        ("segmentsemantic", ["capacity", "naswot"]),
    ],
)
def test_proxies_tell_architectures_apart(task: str, proxies: list[str]) -> None:
    space = transnasbench101_micro(task=task)
    scorer = make_scorer(space, proxies, fidelity=TINY, devices=1, block_size=2)
    codes = np.array([[3, 1, 2, 2, 0, 1], [1, 2, 3, 3, 1, 3]])
    for name, scores in scorer.score(codes).scores.items():
        assert np.isfinite(scores).all(), name
        assert scores[0, 0] != scores[1, 0], name
    assert scorer.num_traces == 1


def test_tiles_have_no_slopes_of_images() -> None:
    """Of the head alone, so that Jacobians are taken one by one."""
    x = jnp.zeros((9, 1, 1, 32))
    for task, tapped in (("jigsaw", False), ("class_scene", True)):
        network = network_from_tapped(drawn(partial(_Alone, task)))
        params = network.init(jax.random.key(0))
        batch = Batch(x, jnp.zeros(len(x), int))
        model = Model(network, params, batch, None, jax.random.key(0))
        assert jacobian._taps_slopes(model) is tapped
