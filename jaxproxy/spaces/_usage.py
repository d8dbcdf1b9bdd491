"""What a model of a user's takes and gives: its inputs, outputs and loss."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxproxy.measure import cross_entropy
from jaxproxy.options import check_choices
from jaxproxy.spaces._records import Task
from jaxproxy.types import Batch, Fidelity

Output = int | str | Callable[[Any], Array]
"""Which output is scored: a place, a key or the name of an attribute, or a function."""
LossName = Literal["cross_entropy", "binary", "mse"]
Loss = LossName | Callable[[Array, Array], Array]
LOSSES = ("cross_entropy", "binary", "mse")


class Use(TypedDict, total=False):
    """How models are used, as keyword arguments."""

    call: Mapping[str, Any] | None
    """Keyword arguments of every call of a model, such as ``{"train": True}``."""
    output: Output | None
    """Which output is scored, for a model of several."""
    loss: Loss | None
    """What gradients are of, where outputs are not classes."""


class Usage(NamedTuple):
    """How models are used."""

    call: Mapping[str, Any] | None = None
    output: Output | None = None
    loss: Loss | None = None

    def chosen(self, given: Any) -> Array:
        """Returns the output that is scored, of all that a model gives.

        Raises:
          ValueError: there are several and none is chosen, or there is no such output.
        """
        found, output = given, self.output
        if callable(output):
            found = output(given)
        elif isinstance(output, int) and isinstance(given, tuple | list):
            found = given[output] if -len(given) <= output < len(given) else None
        elif output is not None:
            mapped = isinstance(given, Mapping)
            found = given.get(output) if mapped else getattr(given, str(output), None)
        if isinstance(found, jax.Array | np.ndarray):
            return jnp.asarray(found)
        where = "" if output is None else f", and output={output!r} is none of them"
        raise ValueError(
            f"the model gives {_described(given)}{where}; choose an array with "
            "output=..., a place, a key, an attribute or a function of all"
        )


PLAIN = Usage()
"""With one output, whose loss follows from its shape."""


def _described(given: Any) -> str:
    """Returns what a model gives, as in ``['a'] float32[1, 8], ['b'][0] int32[1]``."""
    leaves = jax.tree_util.tree_leaves_with_path(given)
    texts = []
    for path, leaf in leaves:
        place = jax.tree_util.keystr(path)
        kind = f"{leaf.dtype}{[*leaf.shape]}" if hasattr(leaf, "shape") else repr(leaf)
        texts.append(f"{place} {kind}".strip())
    return ", ".join(texts) or repr(given)


class Target(NamedTuple):
    """What the loss of a model compares its output with."""

    name: str
    """Of the loss, empty if the output has none by default."""
    draw: Callable[[Array, tuple[int, ...]], Array]
    """(key, shape of a batch of outputs) -> targets."""
    loss: Callable[[Array, Array], Array]
    """(outputs, targets) -> float[]."""


def target_of(output: tuple[int, ...], loss: Loss | None) -> Target:
    """Returns the loss of outputs of a shape, without the batch, and its targets.

    By default outputs ``[K]`` are logits of K classes, and ``[1]`` or ``[]`` the logit
    of one class or none; others have no loss.

    Raises:
      ValueError: an unknown loss, or cross-entropy of fewer than two classes.
    """
    if callable(loss):
        return Target(getattr(loss, "__name__", "loss"), _normal, partial(_mean, loss))
    if loss is None:
        loss = ("binary", "cross_entropy")[output[0] > 1] if len(output) == 1 else None
        loss = "binary" if output == () else loss
    else:
        check_choices(loss=(loss, LOSSES))
    if loss is None:
        return Target("", lambda key, shape: jnp.zeros(shape[0], jnp.int32), _no_loss)
    if loss == "mse":
        return Target(loss, _normal, partial(_mean, optax.squared_error))
    if loss == "binary":
        return Target(loss, partial(_classes, 2), _binary)
    if not output or output[-1] < 2:
        raise ValueError(
            f"loss='cross_entropy' needs two classes or more along the last axis, and "
            f"the output of one input is {[*output]}; for one logit, give 'binary'"
        )

    def draw(key: Array, shape: tuple[int, ...]) -> Array:
        return _classes(shape[-1], key, shape[:-1])

    dense = len(output) > 1
    return Target(loss, draw, _dense_cross_entropy if dense else cross_entropy)


def make_task(x: Array, output: tuple[int, ...], target: Target) -> Task:
    """Returns the task of models for inputs like x [B, ...], with such outputs.

    Real inputs are Gaussian; integers are drawn below the largest of x, and that.
    """
    whole = jnp.issubdtype(x.dtype, jnp.integer)
    below = int(np.max(np.asarray(x), initial=0)) + 1 if whole else 0

    def draw(key: Array, fidelity: Fidelity) -> Batch:
        x_key, y_key = jax.random.split(key)
        size = (fidelity.batch_size, *x.shape[1:])
        if whole:
            drawn = jax.random.randint(x_key, size, 0, below, x.dtype)
        else:
            # Flat: the same numbers, but a draw of several axes is slow to compile.
            drawn = jax.random.normal(x_key, (math.prod(size),)).reshape(size)
        return Batch(drawn, target.draw(y_key, (fidelity.batch_size, *output)))

    numbers = math.prod(x.shape[1:])
    outputs = output[-1] if output else 1
    return Task(outputs, draw, target.loss, lambda fidelity: numbers)


def _classes(num: int, key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.randint(key, shape, 0, num)


def _normal(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.normal(key, shape)


def _mean(loss: Callable[[Array, Array], Array], output: Array, y: Array) -> Array:
    return loss(output, y.astype(output.dtype)).mean()


def _binary(logits: Array, y: Array) -> Array:
    return _mean(optax.sigmoid_binary_cross_entropy, logits, y)


def _dense_cross_entropy(logits: Array, y: Array) -> Array:
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


def _no_loss(outputs: Array, y: Array) -> Array:
    raise ValueError(f"outputs {[*outputs.shape]} have no loss by default")
