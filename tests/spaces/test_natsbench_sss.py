"""NATS-Bench's size space: official counts, and a network written out."""

import csv
import gzip
from functools import partial

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
from jaxproxy.measure import collect, make_batch
from jaxproxy.spaces import Mode, natsbench_sss
from jaxproxy.spaces._natsbench_sss import _codes as host
from jaxproxy.spaces._natsbench_sss import _network as net
from jaxproxy.types import Fidelity

SPACE = natsbench_sss()
TINY = Fidelity(width=2, cells=1, batch_size=4, resolution=8)
WIDEST = 4
METERS = (meters.covariance("conv"), meters.gradient("weights"))
CODES = ([0, 2, 2, 1, 3], [3, 1, 2, 0, 0])


@pytest.fixture(scope="module")
def rows(shared_data):
    with gzip.open(shared_data / "natsbench_sss.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_order_and_parameters_are_the_official_ones(rows) -> None:
    codes = host.enumerate_codes()
    assert [host.to_str(code) for code in codes] == [row["arch"] for row in rows]
    for data, classes in (("cifar10", 10), ("cifar100", 100), ("imagenet16", 120)):
        official = [int(row[f"params_{data}"]) for row in rows]
        counted = host.num_params(codes, num_classes=classes)
        np.testing.assert_array_equal(counted, official)


def test_counts_by_hand() -> None:
    # Widths 8, 8, 16, 16, 16: only the second cell has a projection.
    code = np.array([0, 0, 1, 1, 1])
    conv = {(a, b): 9 * a * b + 2 * b for a in (8, 16) for b in (8, 16)}
    cells = 5 * conv[8, 8] + 2 * conv[8, 16] + 3 * conv[16, 16] + 5 * conv[16, 16]
    projection = 8 * 16 + 2 * 16
    reductions = 2 * conv[8, 8] + 64 + 2 * conv[16, 16] + 256
    ends = 27 * 8 + 16 + 32 + 17 * 10
    assert host.num_params(code) == cells + projection + reductions + ends
    assert host.num_tensors(code) == 3 + 3 * 16 + 14 + 4
    macs = 64 * (27 * 8 + 45 * 64)
    macs += 16 * (19 * 64 + 18 * 128 + 27 * 256 + 128)
    macs += 4 * (19 * 256 + 45 * 256) + 17 * 10
    assert host.num_macs(code, resolution=8) == macs


@given(st.lists(st.integers(0, 7), min_size=5, max_size=5))
def test_strings_round_trip(code: list[int]) -> None:
    np.testing.assert_array_equal(host.from_str(host.to_str(np.array(code))), code)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("8:8:8:8", "has 4 widths, not 5"),
        ("8:8:8:8:9", "unknown width '9' in .*choose from .*'64'"),
        ("8:8:8:8: 8", "unknown width ' 8'"),
        ("8:8:8:8:08", "unknown width '08'"),
    ],
)
def test_malformed_strings_are_explained(arch: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.from_str(arch)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes is an integer from 1"):
        natsbench_sss(num_classes=0)
    with pytest.raises(ValueError, match="width must be even, not 3"):
        SPACE.network(Fidelity(3, 1, 2, 8), Mode())
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        host.num_macs(np.zeros(5, int), resolution=6)
    with pytest.raises(ValueError, match="genes are 0 to 7, got 8"):
        host.num_params(np.full(5, 8))
    with pytest.raises(ValueError, match="one code"):
        host.to_str(np.zeros((2, 5), int))


def _kernels(params: dict, widths: list[int]) -> dict[str, Array]:
    """Name -> weights of an architecture with N = 1: slices, scaled by their fan-in."""
    c0, c1, c2, c3, c4 = widths

    def part(kernel: Array, inputs: int, outputs: int) -> Array:
        return kernel[..., :inputs, :outputs] * (WIDEST / inputs) ** 0.5

    names, sizes = [], []
    for k, before, here in ((0, c0, c0), (2, c1, c2), (4, c3, c4)):
        if k:
            names += [f"cells.{k - 1}.conv_a", f"cells.{k - 1}.conv_b"]
            sizes += [({2: c0, 4: c2}[k], before), (before, before)]
        names += [f"cells.{k}.{edge}" for edge in ("e01", "e02", "e12", "e13", "e23")]
        sizes += [(before, here)] * 2 + [(here, here)] * 3
    found = {"stem.conv": params["stem"]["kernel"][0, ..., :c0]}
    rows = zip(names, params["conv3"]["kernel"], sizes, strict=True)
    found |= {f"{name}.conv": part(k, *size) for name, k, size in rows}
    ones = iter(params["conv1"]["kernel"])
    for k, before, middle, here in ((1, c0, c1, c2), (3, c2, c3, c4)):
        found[f"cells.{k}.down"] = part(next(ones), before, middle)
        skip = next(ones)
        if middle != here:
            found[f"cells.{k + 1}.e03.conv"] = part(skip, middle, here)
    return found | {"classifier": part(params["head"]["kernel"], c4, 10)}


def _unrolled(kernels: dict[str, Array], x: Array) -> tuple[Array, dict[str, Array]]:
    """Logits, and the output of every convolution."""
    outputs = {}

    def conv(name: str, x: Array, stride: int = 1) -> Array:
        outputs[name] = convolve(x, kernels[name], stride)
        return outputs[name]

    def relu_conv_bn(name: str, x: Array, stride: int = 1) -> Array:
        return normalised(conv(f"{name}.conv", jnp.maximum(x, 0), stride))

    x = normalised(conv("stem.conv", x))
    for k in range(5):
        block = partial(lambda k, e, x, s=1: relu_conv_bn(f"cells.{k}.{e}", x, s), k)
        if k % 2:
            pooled = x.reshape(len(x), x.shape[1] // 2, 2, -1, 2, x.shape[3])
            shortcut = conv(f"cells.{k}.down", pooled.mean((2, 4)))
            x = shortcut + block("conv_b", block("conv_a", x, 2))
            continue
        skip = x
        if f"cells.{k}.e03.conv" in kernels:
            skip = normalised(conv(f"cells.{k}.e03.conv", x))
        one = block("e01", x)
        two = block("e02", x) + block("e12", one)
        x = skip + block("e13", one) + block("e23", two)
    x = jnp.maximum(normalised(x), 0).mean((1, 2))
    return x @ kernels["classifier"], outputs


def test_readings_are_those_of_an_unrolled_network(monkeypatch) -> None:
    """Logits, activations and gradients, with and without projections."""
    # Of half as many widths, whose pairs are a quarter as many branches to trace.
    monkeypatch.setattr(net, "WIDTHS", host.WIDTHS[:WIDEST])
    network, batch = (
        SPACE.network(TINY, Mode()),
        make_batch(jax.random.key(1), TINY, 10),
    )
    params = jax.jit(network.init)(jax.random.key(0))
    read = jax.jit(lambda code: collect(network, params, batch, code, METERS))
    for code in CODES:
        readings = read(jnp.array(code))
        kernels = _kernels(params["params"], [g + 1 for g in code])

        def loss(kernels: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            logits, outputs = _unrolled(kernels, batch.x)
            return plain.cross_entropy(logits, batch.y), outputs

        plain.assert_same_readings(readings, METERS, loss, kernels)


def test_proxies_share_one_program() -> None:
    plain.assert_one_program(SPACE, TINY)
