"""The choice by platform is made where devices are known, else when lowering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.ops import by_platform

pytestmark = pytest.mark.smoke


def _choose(x: jax.Array) -> jax.Array:
    return by_platform(x, cpu=jnp.sin, default=jnp.cos)


def test_both_are_traced_without_a_mesh() -> None:
    jaxpr = str(jax.make_jaxpr(_choose)(jnp.ones(2)))
    assert "sin" in jaxpr and "cos" in jaxpr
    np.testing.assert_allclose(jax.jit(_choose)(jnp.ones(2)), np.sin(np.ones(2)), 1e-6)
    lowered = jax.jit(_choose).trace(jnp.ones(2)).lower(lowering_platforms=("tpu",))
    text = lowered.as_text()
    assert "stablehlo.cosine" in text and "stablehlo.sine" not in text


def test_one_is_traced_on_a_mesh() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("arch",))
    spec = jax.P("arch")
    mapped = jax.shard_map(_choose, mesh=mesh, in_specs=spec, out_specs=spec)
    jaxpr = str(jax.make_jaxpr(mapped)(jnp.ones(2)))
    assert "sin" in jaxpr and "cos" not in jaxpr
    np.testing.assert_allclose(mapped(jnp.ones(2)), np.sin(np.ones(2)), 1e-6)
