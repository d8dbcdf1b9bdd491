"""The network of NAS-Bench-201 written plainly, loops and no tricks, and what it shows.

Weights and activations have the names of the network's slots, and activations their
kind.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxproxy.measure import cross_entropy
from jaxproxy.types import Batch

NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

Weights = dict[str, jax.Array]
Layers = dict[tuple[str, str], jax.Array]


class Shown(NamedTuple):
    """Activations, gradients of the loss for them, and for the parameters."""

    layers: Layers
    dlayers: Layers
    dweights: Weights


def show(
    code: Sequence[int], params: dict[str, Any], batch: Batch, *, cells: int
) -> Shown:
    """What the network of a code shows, parameters as ``Network.init`` gives them."""
    weights = named(code, cells, params)
    plain = Plain(code, cells, weights, {})
    plain(batch.x)

    def loss(weights: Weights, shifts: Layers) -> jax.Array:
        return cross_entropy(Plain(code, cells, weights, shifts)(batch.x), batch.y)

    shifts = jax.tree.map(jnp.zeros_like, plain.layers)
    dweights, dlayers = jax.grad(loss, (0, 1))(weights, shifts)
    return Shown(plain.layers, dlayers, dweights)


def moments(h: jax.Array, *, centred: bool) -> np.ndarray:
    """Trace, squared norm and size of the channels' second moments."""
    flat = np.asarray(h, float).reshape(-1, h.shape[-1])
    flat = flat - flat.mean(0) if centred else flat
    second = flat.T @ flat / (len(flat) - centred)
    return np.array([np.trace(second), (second**2).sum(), h.shape[-1]])


def spread(gradient: jax.Array) -> np.ndarray:
    """Standard deviation and largest magnitude."""
    return np.array([np.std(gradient, ddof=1, dtype=float), np.abs(gradient).max()])


class Plain:
    """The network of one code; a shift is added to each activation."""

    def __init__(
        self, code: Sequence[int], cells: int, weights: Weights, shifts: Layers
    ) -> None:
        self.code, self.cells = code, cells
        self.weights, self.shifts = weights, shifts
        self.layers: Layers = {}

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv_bn("stem", x)
        index = 0
        for stage in range(3):
            if stage:
                x = self.reduction(f"cells.{index}", x)
                index += 1
            for _ in range(self.cells):
                x = self.cell(f"cells.{index}", x)
                index += 1
        x = self.relu("lastact", self.batch_norm("lastact.bn", x))
        kernel, bias = (self.weights[f"classifier.{w}"] for w in ("weight", "bias"))
        return self.tap("classifier", "linear", x.mean((1, 2)) @ kernel + bias)

    def cell(self, name: str, x: jax.Array) -> jax.Array:
        nodes = [x, *[jnp.zeros_like(x)] * 3]
        for (source, target), op in zip(EDGES, self.code, strict=True):
            edge, x = f"{name}.e{source}{target}", nodes[source]
            if op == NONE:
                y = self.tap(f"{edge}.none", "none", jnp.zeros_like(x))
            elif op == SKIP:
                y = self.tap(f"{edge}.skip", "skip", x)
            elif op == POOL:
                sums, ones = window_sums(x, 3, 1), window_sums(jnp.ones_like(x), 3, 1)
                y = self.tap(f"{edge}.pool", "pool", sums / ones)
            else:
                y = self.conv_bn(edge, self.relu(edge, x))
            nodes[target] = nodes[target] + y
        return self.tap(name, "cell", nodes[3])

    def reduction(self, name: str, x: jax.Array) -> jax.Array:
        pooled = self.tap(f"{name}.pool", "pool", window_sums(x, 2, 2) / 4)
        shortcut = self.conv(f"{name}.down", pooled, 1)
        x = self.conv_bn(f"{name}.conv_a", self.relu(f"{name}.conv_a", x), stride=2)
        x = self.conv_bn(f"{name}.conv_b", self.relu(f"{name}.conv_b", x))
        return self.tap(name, "reduction", x + shortcut)

    def conv_bn(self, name: str, x: jax.Array, stride: int = 1) -> jax.Array:
        return self.batch_norm(f"{name}.bn", self.conv(f"{name}.conv", x, stride))

    def conv(self, name: str, x: jax.Array, stride: int) -> jax.Array:
        kernel = self.weights[f"{name}.weight"]
        pad = (kernel.shape[0] - 1) // 2
        z = lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return self.tap(name, "conv", z)

    def batch_norm(self, name: str, x: jax.Array) -> jax.Array:
        mean = x.mean((0, 1, 2))
        variance = jnp.square(x - mean).mean((0, 1, 2))
        scale, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.tap(
            name, "bn", (x - mean) / jnp.sqrt(variance + 1e-5) * scale + bias
        )

    def relu(self, name: str, x: jax.Array) -> jax.Array:
        return self.tap(f"{name}.relu", "relu", jnp.where(x > 0, x, 0))

    def tap(self, name: str, kind: str, h: jax.Array) -> jax.Array:
        if (name, kind) in self.shifts:
            h = h + self.shifts[name, kind]
        self.layers[name, kind] = h
        return h


def window_sums(x: jax.Array, window: int, stride: int) -> jax.Array:
    shape, strides = (1, window, window, 1), (1, stride, stride, 1)
    padding = "VALID" if stride == window else "SAME"
    return lax.reduce_window(x, 0.0, lax.add, shape, strides, padding)


def named(code: Sequence[int], cells: int, params: dict[str, Any]) -> Weights:
    """The parameters that a code has, by the names of their slots."""
    params = params["params"]
    weights = {"classifier.weight": params["kernel"], "classifier.bias": params["bias"]}

    def add_bn(name: str, tree: dict[str, jax.Array]) -> None:
        weights[f"{name}.bn.weight"] = tree["scale"]
        weights[f"{name}.bn.bias"] = tree["bias"]

    def add(name: str, tree: dict[str, Any]) -> None:
        weights[f"{name}.conv.weight"] = tree["kernel"]
        add_bn(name, tree["bn"])

    add("stem", params["stem"])
    add_bn("lastact", params["last"])
    for i in range(2):
        name, tree = f"cells.{(i + 1) * (cells + 1) - 1}", params["reductions"][i]
        add(f"{name}.conv_a", tree["conv_a"])
        add(f"{name}.conv_b", tree["conv_b"])
        weights[f"{name}.down.weight"] = tree["down"]
    for stage in range(3):
        tree = params["stages"][stage]
        for row in range(6 * cells):
            source, target = EDGES[row % 6]
            name = f"cells.{stage * (cells + 1) + row // 6}.e{source}{target}"
            kernel = {CONV1: "conv1", CONV3: "conv3"}.get(code[row % 6])
            if kernel:
                leaves = {leaf: tree[leaf][row] for leaf in ("scale", "bias")}
                add(name, {"kernel": tree[kernel][row], "bn": leaves})
    return weights
