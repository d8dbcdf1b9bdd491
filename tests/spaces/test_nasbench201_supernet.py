"""The supernet of NAS-Bench-201 against the networks of its architectures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references.plain_nasbench201 import EDGES, POOL, SKIP, Plain, named, window_sums

from jaxproxy.measure import MeterSet, Tap
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import Mode, nasbench201, nasbench201_supernet
from jaxproxy.types import Fidelity

SPACE, SUPERNET = nasbench201(), nasbench201_supernet()
BARE = nasbench201_supernet(bare=True)
TINY = Fidelity(width=3, cells=1, batch_size=5, resolution=8)
CODES = np.array([[2, 1, 3, 4, 1, 3], [1, 1, 1, 1, 1, 1], [3, 2, 4, 2, 3, 1]], np.int32)
ARCH = (
    "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)
MIXED = ARCH.replace("avg_pool", "skip_connect/nor_conv_1x1/avg_pool")

masks = st.lists(st.integers(1, 15), min_size=6, max_size=6).map(
    lambda edges: np.array([e >> o & 1 for e in edges for o in range(4)], np.int32)
)


def mask_of(code: np.ndarray) -> np.ndarray:
    """The mask of one operation an edge."""
    return np.eye(5, dtype=np.int32)[code][:, 1:].reshape(-1)


def test_strings_of_architectures_are_theirs() -> None:
    for code in CODES:
        assert SUPERNET.to_str(mask_of(code)) == SPACE.to_str(code)
        np.testing.assert_array_equal(
            SUPERNET.from_str(SPACE.to_str(code)), mask_of(code)
        )
    assert SUPERNET.from_str(MIXED).reshape(6, 4)[2].tolist() == [1, 1, 0, 1]


@given(masks)
def test_strings_round_trip(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(SUPERNET.from_str(SUPERNET.to_str(mask)), mask)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "not of three nodes"),
        (ARCH[1:], "not of three nodes"),
        (ARCH.replace("|+|", "|+"), "not of three nodes"),
        (ARCH.replace("~1", "~0"), r"not of the form 'op~1'"),
        (ARCH.replace("skip_connect", "none"), "operation 'none' .* unknown"),
        (ARCH.replace("skip_connect", "skip_connect/skip_connect"), "given twice"),
        (ARCH.replace("skip_connect", "/"), "operation '' .* unknown"),
    ],
)
def test_other_strings_are_refused(arch: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SUPERNET.from_str(arch)


def test_every_edge_has_an_operation() -> None:
    mask = SUPERNET.from_str(MIXED)
    mask[4:8] = 0
    assert not SUPERNET.valid(mask)
    with pytest.raises(ValueError, match="from node 0 to node 2 has no operation"):
        SUPERNET.check_codes(mask[None])


def test_counts_are_those_of_what_is_live() -> None:
    """Two more operations on an edge, of which a convolution has parameters."""
    codes = SPACE.sample(np.random.default_rng(0), 200)
    codes = codes[(codes > 0).all(1)]
    assert len(codes) > 20
    of_codes = np.stack([mask_of(code) for code in codes])
    for count in ("num_params", "num_macs", "num_tensors", "cost"):
        ours, theirs = (getattr(space, count) for space in (SUPERNET, SPACE))
        np.testing.assert_array_equal(ours(of_codes), theirs(codes))
    more = SUPERNET.num_params(SUPERNET.from_str(MIXED))
    convolution = sum(c * c + 2 * c for c in (16, 32, 64))
    assert more - SPACE.num_params(SPACE.from_str(ARCH)) == 5 * convolution


SCORES = ("naswot", "intrain", "ntk", "az_trainability")
"""Of readings forward and backward, image by image and of blocks; few, to compile."""


def test_one_operation_an_edge_is_the_architecture() -> None:
    """With the weights of the same seed, whatever a proxy differentiates.

    The two run by other loops, and conditions and entropies amplify what that changes.
    """
    found = {}
    for space, codes in (
        (SPACE, CODES[[0, 2]]),
        (SUPERNET, np.stack([mask_of(code) for code in CODES[[0, 2]]])),
    ):
        scorer = make_scorer(
            space, SCORES, fidelity=TINY, seeds=[3], devices=1, block_size=2
        )
        found[space.name] = scorer.score(codes).scores
    ours, theirs = found["nasbench201_supernet"], found["nasbench201"]
    for name in SCORES:
        assert np.isfinite(theirs[name]).all(), name
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, err_msg=name)


class _Mixed(Plain):
    """The plain network whose edges are means of operations."""

    def cell(self, name: str, x: jax.Array) -> jax.Array:
        nodes = [x, *[jnp.zeros_like(x)] * 3]
        for (source, target), ops in zip(EDGES, self.code, strict=True):
            edge, x = f"{name}.e{source}{target}", nodes[source]
            outputs = [self.operation(f"{edge}.{op}", op, x) for op in ops]
            nodes[target] = nodes[target] + sum(outputs) / len(outputs)
        return nodes[3]

    def operation(self, name: str, op: int, x: jax.Array) -> jax.Array:
        if op == SKIP:
            return x
        if op == POOL:
            return window_sums(x, 3, 1) / window_sums(jnp.ones_like(x), 3, 1)
        return self.conv_bn(name, self.relu(name, x))


def _weights(params: Any, cells: int) -> dict[str, jax.Array]:
    """Parameters of all operations, by the names of the class above."""
    weights = named((0,) * 6, cells, params)
    for stage in range(3):
        tree = params["params"]["stages"][stage]
        for row in range(6 * cells):
            source, target = EDGES[row % 6]
            cell = f"cells.{stage * (cells + 1) + row // 6}.e{source}{target}"
            for op, kind in ((2, "one"), (3, "three")):
                weights[f"{cell}.{op}.conv.weight"] = tree[kind]["kernel"][row]
                weights[f"{cell}.{op}.bn.weight"] = tree[kind]["scale"][row]
                weights[f"{cell}.{op}.bn.bias"] = tree[kind]["bias"][row]
    return weights


def test_an_edge_is_the_mean_of_its_operations() -> None:
    """In float64, against a plain network, with scales and biases of each its own."""
    cells = 2
    fidelity = Fidelity(width=3, cells=cells, batch_size=4, resolution=8)
    rng = np.random.default_rng(0)
    mask = (rng.random((6, 4)) < 0.6) | np.eye(4, dtype=bool)[[0, 1, 2, 3, 0, 1]]
    assert 8 < mask.sum() < 24
    ops = [[1 + int(op) for op in np.flatnonzero(row)] for row in mask]
    with jax.enable_x64(True):
        network = SUPERNET.network(fidelity, Mode())
        params = jax.tree.map(
            lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape),
            jax.jit(network.init)(jax.random.key(0)),
        )
        x = jnp.asarray(rng.standard_normal((4, 8, 8, 3)))
        code = jnp.asarray(mask.reshape(-1), jnp.int32)
        apply = jax.jit(lambda code: network.apply(params, x, code, Tap(MeterSet(()))))
        ours, weights = apply(code), _weights(params, cells)
        theirs = jax.jit(lambda: _Mixed(ops, cells, weights, {})(x))()
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_what_is_not_live_has_no_readings() -> None:
    scorer = make_scorer(SUPERNET, ["intrain"], fidelity=TINY, devices=1, block_size=2)
    codes = np.stack([SUPERNET.from_str(MIXED), np.ones(24, np.int32)])
    block = scorer.score(codes)
    meter = next(m for m in scorer.layout if m.startswith("covariance(conv"))
    # Stem, 2 or 3 of 12 convolutions in each cell, and three in each reduction.
    assert block.present[meter].sum(1).tolist() == [1 + 3 * 3 + 6, 1 + 3 * 12 + 6]
    names = np.array([slot.name for slot in scorer.layout[meter]])
    first = [name for name in names[block.present[meter][0]] if "cells.0." in name]
    assert first == [
        "cells.0.e01.conv3.conv",
        "cells.0.e12.conv1.conv",
        "cells.0.e03.conv1.conv",
    ]


def test_the_bare_network_has_no_stem() -> None:
    """Two channels, cells of one stage; what it counts is what kernels count."""
    fidelity = Fidelity(width=2, cells=1, batch_size=50, resolution=3)
    names = ["linear_regions", "linear_regions(hashed=True)", "intrain"]
    scorer = make_scorer(BARE, names, fidelity=fidelity, devices=1, block_size=3)
    codes = np.stack([mask_of(CODES[1]), mask_of(CODES[2]), np.ones(24, np.int32)])
    block = scorer.score(codes)
    exact, hashed = (block.scores[name][:, 0] for name in names[:2])
    np.testing.assert_array_equal(hashed, exact)
    assert exact[2] == 50
    assert BARE.task.batch(jax.random.key(0), fidelity).x.shape == (50, 3, 3, 2)
    kernels = {slot.name.split(".")[0] for slot in scorer.layout["covariance(conv)"]}
    assert kernels == {"cells"}
    network = BARE.network(fidelity, Mode())
    params = network.init(jax.random.key(0))
    with pytest.raises(ValueError, match="as the network, 2, not 3"):
        network.apply(params, jnp.ones((1, 3, 3, 3)), codes[0], Tap(MeterSet(())))
