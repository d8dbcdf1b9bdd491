"""TransNAS-Bench-101's micro space: counts, and a network written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import Array
from references import plain_layers as plain
from references.plain_layers import convolve, normalised

from jaxproxy import meters
from jaxproxy.measure import collect, cross_entropy
from jaxproxy.spaces import Mode, transnasbench101_micro
from jaxproxy.spaces._transnasbench101 import _codes as host
from jaxproxy.types import Fidelity

SPACE = transnasbench101_micro(task="room_layout")
TINY = Fidelity(width=2, cells=2, batch_size=4, resolution=32)
METERS = (meters.covariance("conv"), meters.gradient("weights"))
CODES = ([3, 1, 2, 2, 0, 1], [1, 2, 3, 3, 1, 3])
FIRST = {0: 0, 4: 1, 8: 2}  # strided cells, and their place among them


def test_every_code_is_an_architecture() -> None:
    assert SPACE.num_archs == len(host.enumerate_codes()) == 4096


def test_counts_by_hand() -> None:
    ends = 27 * 32 + 64 + 9 * 32 * 64 + 128 + 513 * 9
    none = np.zeros(6, int)
    assert host.num_params(none, task="room_layout") == ends
    assert host.num_tensors(none) == 8
    macs = 27 * 32 * 32**2 + 9 * 32 * 64 * 16**2 + 513 * 9
    assert host.num_macs(none, task="room_layout", resolution=64) == macs
    # A skip out of the input is a reduction in cells 0, 4 and 8, and free elsewhere.
    skip = np.array([1, 0, 0, 0, 0, 0])
    pairs = [(64, 128), (128, 256), (256, 512)]
    reductions = sum(a * b + 2 * b for a, b in pairs)
    assert host.num_params(skip, task="room_layout") == ends + reductions
    assert host.num_tensors(skip) == 8 + 12
    work = sum(a * b * side**2 for (a, b), side in zip(pairs, (8, 4, 2), strict=True))
    assert host.num_macs(skip, task="room_layout", resolution=64) == macs + work
    # One inside of every cell: 4 cells of 128 channels, 4 of 256, 2 of 512.
    inner = np.array([0, 0, 3, 0, 0, 0])
    convs = sum(n * (9 * c * c + 2 * c) for n, c in ((4, 128), (4, 256), (2, 512)))
    assert host.num_params(inner, task="room_layout") == ends + convs
    work = sum(n * 9 * (c * s) ** 2 for n, c, s in ((4, 128, 8), (4, 256, 4)))
    work += 2 * 9 * (512 * 2) ** 2
    assert host.num_macs(inner, task="room_layout", resolution=64) == macs + work


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_strings_round_trip(code: list[int]) -> None:
    a, b, c, d, e, f = code
    assert host.to_str(np.array(code)) == f"64-41414-{a}_{b}{c}_{d}{e}{f}"
    np.testing.assert_array_equal(host.from_str(host.to_str(np.array(code))), code)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("64-1234-basic", "not of the micro space"),
        ("64-41414-1_02_33", "not of the form a_bc_def"),
        ("64-41414-1_02_334_", "not of the form a_bc_def"),
        ("64-41414-1_02_334", r"unknown operation '4' in .*0 \(none\), 1 \(skip"),
    ],
)
def test_malformed_strings_are_explained(arch: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.from_str(arch)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown task 'depth'; choose from"):
        transnasbench101_micro(task="depth")
    with pytest.raises(ValueError, match="must be even, not 3"):
        SPACE.network(Fidelity(3, 1, 2, 32), Mode())
    with pytest.raises(ValueError, match="multiple of 32, got 48"):
        host.num_macs(np.zeros(6, int), resolution=48)
    with pytest.raises(ValueError, match="operations are 0 to 3, got 4"):
        host.num_params(np.full(6, 4))
    with pytest.raises(ValueError, match="one code"):
        host.to_str(np.zeros((2, 6), int))


def test_reachable() -> None:
    codes = np.array([[0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(host.reachable(codes), [True, False, True])


def _kernels(params: dict, code: list[int]) -> dict[str, Array]:
    """Name -> kernel of an architecture with two cells a module, but for its head."""
    found = {f"stem.{i}.conv": params["stem"][i]["kernel"] for i in (0, 1)}
    for k in range(10):
        for e, (source, target) in enumerate(host.EDGES):
            name, op = f"cells.{k}.e{source}{target}", code[e]
            if k not in FIRST:
                group = params["equal"][k // 4]
                rows = {2: group["one"], 3: group["three"]}, (k % 4 - 1) * 6 + e
            else:
                cell = params["strided"][FIRST[k]]
                inner = "inner_" if source else ""
                rows = {2: cell[f"{inner}one"], 3: cell[f"{inner}three"]}, 0
                places = [
                    i for i, (s, _) in enumerate(host.EDGES) if bool(s) == bool(source)
                ]
                rows = rows[0], places.index(e)
                if op == 1 and source == 0:
                    both = cell["skip"]["kernel"][rows[1]]
                    half = both.shape[-1] // 2
                    found[f"{name}.conv_a"] = both[..., :half]
                    found[f"{name}.conv_b"] = both[..., half:]
            if op > 1:
                found[f"{name}.conv"] = rows[0][op]["kernel"][rows[1]]
    return found


@pytest.mark.parametrize("task", host.TASKS)
def test_counts_are_those_of_the_network(task: str) -> None:
    network = transnasbench101_micro(task=task).network(Fidelity(64, 2, 2, 64), Mode())
    params = jax.eval_shape(network.init, jax.random.key(0))["params"]
    head, none = jax.tree.leaves(params["head"]), np.zeros(6, int)
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    stem = 27 * 32 * 32**2 + 9 * 32 * 64 * 16**2
    for code in CODES:
        kernels = jax.eval_shape(lambda p, code=code: _kernels(p, code), params)
        sizes = {name: math.prod(kernel.shape) for name, kernel in kernels.items()}
        affine = sum(2 * kernel.shape[-1] for kernel in kernels.values())
        total = sum(sizes.values()) + affine + sum(math.prod(v.shape) for v in head)
        assert host.num_params(np.array(code), task=task) == total
        # Both halves of a reduction have one BatchNorm.
        norms = sum(not name.endswith("conv_b") for name in kernels)
        tensors = len(kernels) + 2 * norms + len(head)
        assert host.num_tensors(np.array(code), task=task) == tensors
        weights = kernels | {"head": jax.ShapeDtypeStruct((512, 1), jnp.float32)}
        _, outputs = jax.eval_shape(
            lambda w, x, code=code: _unrolled(w, code, x), weights, x
        )
        work = sum(n * math.prod(outputs[name].shape[1:3]) for name, n in sizes.items())
        found, bare = (
            host.num_macs(c, task=task, resolution=64) for c in (np.array(code), none)
        )
        assert found - bare == (work - stem) * (host.TILES if task == "jigsaw" else 1)


def _unrolled(
    weights: dict[str, Array], code: list[int], x: Array
) -> tuple[Array, dict[str, Array]]:
    """Outputs, and the output of every convolution."""
    outputs = {}

    def conv(name: str, x: Array, stride: int = 1) -> Array:
        outputs[name] = convolve(x, weights[name], stride)
        return outputs[name]

    x = normalised(conv("stem.0.conv", x, 2))
    x = normalised(conv("stem.1.conv", jnp.maximum(x, 0), 2))
    for k in range(10):
        nodes = [x, None, None, None]
        for op, (source, target) in zip(code, host.EDGES, strict=True):
            name, stride = f"cells.{k}.e{source}{target}", 2 if k in FIRST else 1
            stride = 1 if source else stride
            y = nodes[source]
            if y is None or op == 0:
                continue
            r = jnp.maximum(y, 0)
            if op > 1:
                y = normalised(conv(f"{name}.conv", r, stride))
            elif stride == 2:
                halves = conv(f"{name}.conv_a", r, 2), conv(f"{name}.conv_b", jnp.roll(
                    r, -1, (1, 2)), 2)  # fmt: skip
                y = normalised(jnp.concatenate(halves, -1))
            nodes[target] = y if nodes[target] is None else nodes[target] + y
        x = nodes[3]
    return x.mean((1, 2)) @ weights["head"], outputs


def test_readings_are_those_of_an_unrolled_network() -> None:
    """On images whose sides stay even, so a shift by one wraps no pixel in use."""
    network, key = SPACE.network(TINY, Mode()), jax.random.key(1)
    batch, params = (
        SPACE.task.batch(key, TINY),
        jax.jit(network.init)(jax.random.key(0)),
    )
    read = jax.jit(
        lambda code: collect(network, params, batch, code, METERS, loss=SPACE.task.loss)
    )
    for code in CODES:
        readings = read(jnp.array(code))

        def loss(
            weights: dict[str, Array], code: list[int] = code
        ) -> tuple[Array, dict[str, Array]]:
            outputs, layers = _unrolled(weights, code, batch.x)
            return ((outputs - batch.y) ** 2).mean(), layers

        weights = _kernels(params["params"], code)
        weights["head"] = params["params"]["head"]["kernel"]
        plain.assert_same_readings(readings, METERS, loss, weights)


def test_proxies_share_one_program() -> None:
    plain.assert_one_program(SPACE, TINY)


def test_classes_are_drawn_by_default() -> None:
    space = transnasbench101_micro(task="class_scene")
    assert space.task.draw is None
    assert space.task.loss is cross_entropy
    assert space.task.batch(jax.random.key(0), TINY).y.max() < 47
