"""A search space as a user would write it, outside of the package."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxproxy.spaces import Space, Task, network_of

OPS = {"skip": lambda h: h, "relu": jax.nn.relu, "tanh": jnp.tanh}


class Chain(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(3)])
        self.head = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x: jax.Array, code: jax.Array, tap: Any) -> jax.Array:
        for i, layer in enumerate(self.layers):
            h = jax.lax.switch(code[i], list(OPS.values()), layer(x))
            x = tap(f"layer{i}", h, "cell")
        return self.head(x)


def toy() -> Space:
    """Returns chains of three layers, each with a function: ``relu|skip|tanh``."""
    names = list(OPS)
    return Space(
        name="toy",
        choices=(len(OPS),) * 3,
        to_str=lambda code: "|".join(names[gene] for gene in code),
        from_str=lambda arch: np.array([names.index(op) for op in arch.split("|")]),
        network=network_of(lambda fidelity, rngs: Chain(rngs)),
        task=Task.of_inputs((8,), num_outputs=4),
    )
