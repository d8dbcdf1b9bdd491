"""The language model of NAS-Bench-NLP once more, plainly: recipes read as they are."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "blend": lambda a, b, c: a * b + (1 - a) * c,
    "elementwise_prod": lambda a, b: a * b,
    "elementwise_sum": lambda a, b: a + b,
    "activation_tanh": jnp.tanh,
    "activation_sigm": lambda a: 1 / (1 + jnp.exp(-a)),
    "activation_leaky_relu": lambda a: jnp.maximum(a, 0) + 0.01 * jnp.minimum(a, 0),
}


def plain_layer(
    recipe: dict[str, Any], weights: dict[str, Any], x: Any, start: Any
) -> list[Any]:
    """Outputs float[B, H] of a layer at all times, name by name."""
    hidden = sum(name.startswith("h_new") for name in recipe)
    states, outputs = [start] * hidden, []
    for now in x:
        known = {"x": now} | {f"h_prev_{k}": s for k, s in enumerate(states)}
        while len(known) < len(recipe) + hidden + 1:
            for name, spec in recipe.items():
                if name in known or not set(spec["input"]) <= set(known):
                    continue
                given = [known[source] for source in spec["input"]]
                if spec["op"] == "linear":
                    *matrices, bias = weights[name]
                    known[name] = bias + sum(
                        a @ b for a, b in zip(given, matrices, strict=True)
                    )
                else:
                    known[name] = FUNCTIONS[spec["op"]](*given)
        states = [known[f"h_new_{k}"] for k in range(hidden)]
        outputs.append(states[0])
    return outputs


def plain_logits(tensors: dict[str, Any], recipe: dict[str, Any], words: Any) -> Any:
    """float[B, T, V] of words int[B, T]."""
    x = [tensors["words"][column] for column in words.T]
    for weights in tensors["layers"]:
        width = next(iter(weights.values()))[-1].shape[0]
        x = plain_layer(recipe, weights, x, jnp.zeros((len(words), width)))
    return jnp.stack(x, 1) @ tensors["words"].T + tensors["bias"]
