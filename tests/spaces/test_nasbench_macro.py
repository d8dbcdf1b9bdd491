"""NAS-Bench-Macro: counts by hand, and a network written out."""

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
from jaxproxy.spaces import Mode, nasbench_macro
from jaxproxy.spaces import _nasbench_macro as host
from jaxproxy.types import Fidelity

SPACE = nasbench_macro()
TINY = Fidelity(width=2, cells=1, batch_size=4, resolution=16)
METERS = (meters.covariance("conv"), meters.gradient("weights"))
CODES = ([0, 1, 2, 0, 1, 1, 0, 2], [2, 0, 0, 2, 2, 0, 0, 0])


def test_every_code_is_an_architecture() -> None:
    assert SPACE.num_archs == len(host.enumerate_codes()) == 6561


def test_counts_by_hand() -> None:
    # Identities only: stem, three projections, head.
    ends = 27 * 32 + 64 + 256 * 1280 + 2560 + 1281 * 10
    down = 32 * 64 + 128 + 64 * 128 + 256 + 128 * 256 + 512
    assert host.num_params(np.zeros(8, int)) == ends + down
    assert host.num_tensors(np.zeros(8, int)) == 3 + 9 + 5
    macs = 27 * 32 * 64 + 32 * 64 * 16 + 64 * 128 * 4 + 128 * 256 + 256 * 1280
    assert host.num_macs(np.zeros(8, int), resolution=8) == macs + 12810
    # A narrow block in the last layer, a wide one in the first.
    narrow = 2 * 256 * 768 + 9 * 768 + 4 * 768 + 512
    code = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    assert host.num_params(code) == ends + down + narrow
    assert host.num_macs(code, resolution=8) == macs + 12810 + 768 * (512 + 9)
    wide = 192 * (32 + 64) + 25 * 192 + 4 * 192 + 128
    code = np.array([2, 0, 0, 0, 0, 0, 0, 0])
    assert host.num_params(code) == ends + down - 32 * 64 - 128 + wide
    more = 192 * (32 * 64 + (64 + 25) * 16) - 32 * 64 * 16
    assert host.num_macs(code, resolution=8) == macs + 12810 + more
    assert host.num_tensors(code) == 3 + 9 + 6 + 5


@given(st.lists(st.integers(0, 2), min_size=8, max_size=8))
def test_strings_round_trip(code: list[int]) -> None:
    assert host.to_str(np.array(code)) == "".join(map(str, code))
    np.testing.assert_array_equal(host.from_str(host.to_str(np.array(code))), code)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("0120120", "has 7 digits, not 8"),
        ("01201203", r"unknown block '3' in .*choose from 0 \(identity\), 1 \(MB3_K3"),
        ("0120120²", "unknown block '²'"),
    ],
)
def test_malformed_strings_are_explained(arch: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.from_str(arch)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="cells must be 1, not 2"):
        SPACE.network(Fidelity(4, 2, 2, 8), Mode())
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        host.num_macs(np.zeros(8, int), resolution=12)
    with pytest.raises(ValueError, match="blocks are 0 to 2, got 3"):
        host.num_params(np.full(8, 3))
    with pytest.raises(ValueError, match="one code"):
        host.to_str(np.zeros((2, 8), int))


def _weights(params: dict, code: list[int]) -> dict[str, Array]:
    """Name -> weights of an architecture."""
    found = {"stem.conv": params["stem"]["kernel"]}
    first = 0
    for stage, num in enumerate(host.STAGES):
        for number in range(num):
            kind = "others" if number else "entries"
            here, row = params[kind][stage], max(0, number - 1)
            name, gene = f"layers.{first + number}", code[first + number]
            if gene:
                parts = ("expand", "depthwise", "project")
                for part, i in zip(parts, range(3 * gene - 3, 3 * gene), strict=True):
                    found[f"{name}.{part}.conv"] = here["mobile"][i]["kernel"][row]
            elif not number:
                found[f"{name}.down.conv"] = here["down"]["kernel"][row]
        first += num
    found["out.conv"] = params["out"]["kernel"]
    return found | {"classifier": params["classifier"]["kernel"]}


def _unrolled(weights: dict[str, Array], x: Array) -> tuple[Array, dict[str, Array]]:
    """Logits, and the output of every convolution."""
    outputs = {}

    def conv_bn(name: str, x: Array, stride: int = 1, groups: int = 1) -> Array:
        x = convolve(x, weights[f"{name}.conv"], stride, groups)
        outputs[f"{name}.conv"] = x
        return normalised(x)

    x = jnp.maximum(conv_bn("stem", x), 0)
    for i in range(8):
        name, stride = f"layers.{i}", 2 if i in (0, 2, 5) else 1
        if f"{name}.expand.conv" in weights:
            y = jnp.maximum(conv_bn(f"{name}.expand", x), 0)
            y = conv_bn(f"{name}.depthwise", y, stride, y.shape[-1])
            y = conv_bn(f"{name}.project", jnp.maximum(y, 0))
            x = y if stride == 2 else x + y
        elif stride == 2:
            x = conv_bn(f"{name}.down", x, 2)
    x = jnp.maximum(conv_bn("out", x), 0).mean((1, 2))
    return x @ weights["classifier"], outputs


def test_readings_are_those_of_an_unrolled_network() -> None:
    network, batch = (
        SPACE.network(TINY, Mode()),
        make_batch(jax.random.key(1), TINY, 10),
    )
    params = jax.jit(network.init)(jax.random.key(0))
    read = jax.jit(lambda code: collect(network, params, batch, code, METERS))
    for code in CODES:
        readings = read(jnp.array(code))

        def loss(weights: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            logits, outputs = _unrolled(weights, batch.x)
            return plain.cross_entropy(logits, batch.y), outputs

        plain.assert_same_readings(
            readings, METERS, loss, _weights(params["params"], code)
        )


def test_proxies_share_one_program() -> None:
    plain.assert_one_program(SPACE, TINY)
