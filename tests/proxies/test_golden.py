"""Every proxy gives PyTorch's values on given weights and inputs.

The architectures are those of the golden file, the degenerate ones included. Values
and weights are float64, so agreement is to rounding.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import golden_cases as golden

from jaxproxy import proxies
from jaxproxy.measure import (
    PassInputs,
    make_batches,
    make_passes,
    read_passes,
)
from jaxproxy.meters._trainability import block_trainability
from jaxproxy.scoring import bind_pass
from jaxproxy.spaces import Mode
from jaxproxy.types import Batch

IMAGES = {"inputs": "images"}
# Name in the golden file -> proxy on the golden inputs; a group is one program.
GROUPS = [
    {
        "grad_norm": proxies.grad_norm(**IMAGES),
        "grad_norm_global": proxies.grad_norm(norm="global", **IMAGES),
        "snip": proxies.snip(**IMAGES),
        "plain": proxies.plain(**IMAGES),
        "fisher": proxies.fisher(**IMAGES),
        "naswot": proxies.naswot(**IMAGES),
        "linear_regions": proxies.linear_regions(**IMAGES),
    },
    {
        "l2_norm": proxies.l2_norm(),
        "az_expressivity": proxies.az_expressivity(),
        "az_progressivity": proxies.az_progressivity(),
    },
    {"synflow": proxies.synflow(), "synflow_bn": proxies.synflow(norm="batch")},
    {"jacov": proxies.jacov(**IMAGES), "epe_nas": proxies.epe_nas(**IMAGES)},
    {"swap": proxies.swap(**IMAGES), "zen": proxies.zen()},
    {"ntk": proxies.ntk(**IMAGES)},
    {"zico": proxies.zico(**IMAGES)},
    {
        "xi_gsnr": proxies.xi_gsnr(batches=4, **IMAGES),
        "xi_gsnr_accumulated": proxies.xi_gsnr(batches=4, accumulate=True, **IMAGES),
    },
    {"grad_sign": proxies.grad_sign(**IMAGES)},
    {
        "vkdnw_exact": proxies.vkdnw_entropy(),
        "vkdnw_reference": proxies.vkdnw_entropy(fisher="reference"),
    },
    {"weight_agnostic": proxies.weight_agnostic(**IMAGES)},
    {"grasp": proxies.grasp(**IMAGES)},
]
SMALL = [entry for entry in golden.ENTRIES if entry["N"] == 1]


def _weights(entry: dict[str, Any], scheme: str) -> Any:
    params = golden.parameters(entry, scaled=scheme != "normal")
    return jax.tree.map(jnp.abs, params) if scheme == "abs" else params


def _batches(setup: Any, name: str) -> Batch:
    given = golden.inputs()
    if setup.inputs == "perturbed":
        x, y = given.batches[0]
        return Batch(jnp.stack([x, x + 1e-2 * given.eps]), jnp.stack([y, y]))
    whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *given.batches)
    if name == "weight_agnostic":
        return jax.tree.map(lambda leaf: leaf[None], whole)
    if setup.inputs == "gaussian":
        setup = dataclasses.replace(setup, inputs="images")
    fidelity = golden.fidelity(golden.ENTRIES[0])
    batches = make_batches(jax.random.key(0), setup, fidelity, 10, whole)
    return jax.tree.map(
        lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, batches
    )


@functools.cache
def _scores(number: int) -> list[dict[str, float]]:
    """Scores of a group's proxies for each small entry."""
    group = GROUPS[number]
    bound = [
        bind_pass(golden.SPACE, golden.fidelity(SMALL[0]), run)
        for run in make_passes(m for proxy in group.values() for m in proxy.meters)
    ]

    @jax.jit
    def score(prepared: list[PassInputs], code: jax.Array) -> dict[str, jax.Array]:
        readings, _ = read_passes(bound, prepared, code)
        return {name: proxy.score(readings) for name, proxy in group.items()}

    def scores_of(entry: dict[str, Any]) -> dict[str, float]:
        prepared = [
            PassInputs(
                _weights(entry, one.spec.setup.weights),
                _batches(one.spec.setup, "".join(group)),
                jax.random.key(0),
            )
            for one in bound
        ]
        scores = score(prepared, jnp.asarray(golden.code(entry)))
        return {name: float(value) for name, value in scores.items()}

    with jax.enable_x64(True):
        return [scores_of(entry) for entry in SMALL]


@pytest.mark.parametrize(
    ("number", "name"), [(i, name) for i, group in enumerate(GROUPS) for name in group]
)
def test_a_proxy_is_pytorchs(number, name):
    ours = [scores[name] for scores in _scores(number)]
    expected = [float(entry["values"][name]) for entry in SMALL]
    if name.startswith("synflow"):
        expected = [math.log(s) if s else -math.inf for s in expected]
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


def test_trainability_is_pytorchs():
    entry = SMALL[0]
    network = golden.SPACE.network(golden.fidelity(entry), Mode())

    def signs(first: int, n: int, shape: tuple[int, ...]) -> jax.Array:
        return jnp.stack([golden.signs(first + i, shape) for i in range(n)])

    with jax.enable_x64(True):
        x = golden.inputs().batches[0].x

        @jax.jit
        def score(params: Any, code: jax.Array) -> jax.Array:
            return block_trainability(network.blocks(params, code), x, signs).mean()

        ours = [
            float(score(golden.parameters(e), jnp.asarray(golden.code(e))))
            for e in SMALL
        ]
    expected = [float(e["values"]["az_trainability"]) for e in SMALL]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
