"""The network of NAS-Bench-201 gives the logits and losses of the golden file."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import golden_cases as golden

from jaxproxy.measure import MeterSet, Tap, cross_entropy
from jaxproxy.spaces import Mode


@functools.cache
def _apply(fidelity):
    network = golden.SPACE.network(fidelity, Mode())
    return jax.jit(lambda p, x, code: network.apply(p, x, code, Tap(MeterSet(()))))


@pytest.mark.parametrize("entry", golden.ENTRIES, ids=golden.NAMES)
def test_logits_and_loss(entry):
    with jax.enable_x64(True):
        batch = golden.inputs().batches[0]
        apply = _apply(golden.fidelity(entry))
        code = jnp.asarray(golden.code(entry))
        logits = apply(golden.parameters(entry), batch.x, code)
        loss = cross_entropy(logits, batch.y)
    np.testing.assert_allclose(logits, entry["logits"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss, entry["loss"], rtol=1e-12)
