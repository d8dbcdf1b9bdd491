"""Sums of products over pixels: any number of threads, and constant factors."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.ops import channel_product

DIGITS = """
import hashlib
import jax, numpy as np
from jaxproxy.ops import channel_product, conv, moments

random = np.random.default_rng(0)
def normal(*shape): return random.standard_normal(shape, np.float32)
def gradients(x, kernel, stride):
    y, pull = jax.vjp(lambda *a: conv(*a, stride=stride), x, kernel)
    return y, pull(y)

for name, function, arguments in [
    ("product", channel_product, (normal(16384, 16), normal(16384, 16))),
    ("product", channel_product, (normal(4096, 32), normal(4096, 64))),
    ("product", channel_product, (normal(1000, 64), normal(1000, 64))),
    ("moments", moments, (normal(16, 32, 32, 16),)),
    *(
        (f"conv {stride}", lambda x, k, s=stride: gradients(x, k, s),
         (normal(images, side, side, channels), normal(width, width, channels, out)))
        for images, side, channels, out, width, stride in [
            (4, 16, 8, 16, 3, 2), (8, 16, 8, 16, 3, 2), (8, 32, 16, 16, 3, 2),
            (4, 16, 3, 8, 3, 1), (16, 32, 16, 16, 3, 1), (16, 16, 32, 32, 1, 1),
        ]
    ),
]:
    found = jax.tree.leaves(jax.jit(function)(*arguments))
    text = b"".join(np.asarray(part).tobytes() for part in found)
    shapes = [part.shape for part in arguments]
    print(name, shapes, hashlib.sha256(text).hexdigest()[:16])
"""


def test_digits_are_those_of_any_number_of_threads():
    # XLA takes as many as there are cores, devices, or by this variable.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DIGITS],
            env=os.environ | {"NPROC": str(threads)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in (2, 4, 8)
    ]
    outputs = [
        process.communicate(timeout=300)[0].splitlines() for process in processes
    ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs[0]) == 10
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.fixture
def _dirty_memory():
    """Memory with NaN in it, of all sizes, that programs will be given."""
    freed = [np.full(2**k, np.nan) for k in range(8, 18) for _ in range(20)]
    del freed


@pytest.mark.usefixtures("_dirty_memory")
@pytest.mark.parametrize("pixels", [1, 300, 512, 768, 4096])
def test_product_with_a_constant(pixels):
    """XLA's sum of such products reads memory that nothing was written to."""
    ones = jnp.ones((pixels, 64))
    found = jax.jit(lambda x: channel_product(x, jnp.full((pixels, 64), 2.0)))(ones)
    np.testing.assert_array_equal(found, np.full((64, 64), 2 * pixels))
