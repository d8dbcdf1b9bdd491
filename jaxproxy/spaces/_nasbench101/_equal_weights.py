"""NAS-Bench-101 with all weights equal, evaluated exactly with a channel per vertex.

When every convolution, classifier and BatchNorm scale holds the same constant ``w`` and
every bias is zero, the channels of a vertex are equal, and so are all projections of a
module's input, whatever their width. Only the output of a module has different
channels: a group for each vertex that feeds it. As the authors of epsinas evaluate this
space, BatchNorm has the statistics of a fresh network in evaluation mode, mean 0 and
variance 1, so that the network is homogeneous: a common factor of all images can be
taken out of any module without changing a score.

Activations are ``float64[H, W, B]``, the images last.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import EqualWeights
from jaxproxy.ops import max_pool
from jaxproxy.spaces._equal_weights import Layers, box_sum, check_images
from jaxproxy.spaces._layers import EPS
from jaxproxy.spaces._nasbench101._codes import INTERIOR
from jaxproxy.spaces._nasbench101._graph import Graph, module_widths, pruned_graph
from jaxproxy.types import Fidelity

_STACKS = 3


def equal_weights(fidelity: Fidelity, *, underflow: bool = False) -> EqualWeights:
    """The network whose weights are all equal, BatchNorm in evaluation mode.

    Args:
      fidelity: width and cells; the images bring their own number and size.
      underflow: round every product as float32 does near zero. Otherwise nothing
        underflows: the output of every module is divided by its largest magnitude.

    Raises:
      ValueError: not called under ``jax.enable_x64(True)``; from ``stem``, images that
        are not ``[B, R, R, 3]`` with ``R`` a multiple of 4 from 8.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("equal weights need float64: call under jax.enable_x64(True)")

    def stem(images: Array, weight: Array) -> Array:
        check_images(images)
        x = jnp.transpose(images.astype(jnp.float64), (1, 2, 3, 0))
        layers = _layers(weight, underflow)
        return _rectified(layers, box_sum(layers.scaled(x).sum(2)))

    def logits(state: Array, code: Array, weight: Array) -> Array:
        graph, layers = pruned_graph(code), _layers(weight, underflow)
        x = jnp.zeros((INTERIOR, *state.shape)).at[0].set(state)
        counts = jnp.zeros(INTERIOR).at[0].set(fidelity.width)
        for stack in range(_STACKS):
            if stack:
                x = max_pool(x, 2, stride=2)
            module = partial(_module, graph, fidelity.width << stack, layers)
            (x, counts), _ = jax.lax.scan(
                lambda carry, _, module=module: (module(*carry), None),
                (x, counts),
                length=fidelity.cells,
            )
        features = layers.scaled(layers.round(x.mean((1, 2))))
        return layers.output((features * counts[:, None]).sum(0))

    return EqualWeights(stem, logits, (1e-4, 10.0))


def _layers(weight: Array, underflow: bool) -> Layers:
    return Layers(weight, jnp.ones((), jnp.float64), underflow)


def _rectified(layers: Layers, z: Array) -> Array:
    """BatchNorm in evaluation mode, then ReLU."""
    return jax.nn.relu(layers.round(z * (layers.weight * (1 + EPS) ** -0.5)))


def _module(
    graph: Graph, channels: int, layers: Layers, x: Array, counts: Array
) -> tuple[Array, Array]:
    """Groups of channels of a module's output, float64[5, H, W, B], and their sizes.

    Args:
      graph: which module.
      channels: of its output.
      layers: the weight.
      x: groups of channels of its input, float64[5, H, W, B].
      counts: their sizes, float64[5].
    """
    projected = _rectified(layers, jnp.tensordot(counts, layers.scaled(x), 1))
    widths = module_widths(graph, channels)
    sizes = jnp.array(widths.sizes, jnp.float64)[widths.index]

    def vertex(outputs: Array, here: tuple[Array, ...]) -> tuple[Array, None]:
        place, fed, read, live, op, size = here
        y = jnp.where(fed, projected, 0) + jnp.where(
            read[:, None, None, None], outputs, 0
        ).sum(0)
        operations = (
            jnp.zeros_like,
            lambda y: _rectified(layers, size * box_sum(layers.scaled(y))),
            lambda y: _rectified(layers, size * layers.scaled(y)),
            lambda y: max_pool(y[None], 3, padding=1)[0],
        )
        y = jax.lax.switch(jnp.where(live, 1 + op, 0), operations, y)
        return jax.lax.dynamic_update_index_in_dim(outputs, y, place, 0), None

    edges = graph.edges
    feeds, direct = edges[1:-1, -1], edges[0, -1]
    interior = edges[0, 1:-1], edges[1:-1, 1:-1].T, graph.live, graph.ops, sizes
    xs = jnp.arange(INTERIOR), *interior
    outputs, _ = jax.lax.scan(vertex, jnp.zeros_like(x), xs)
    # Without a vertex, the output is the projection alone.
    feeds = feeds.at[0].set(feeds[0] | ~feeds.any())
    sizes = jnp.where(edges[1:-1, -1].any(), sizes, channels)
    x = outputs + jnp.where(direct, projected, 0)
    x = jnp.where(feeds[:, None, None, None], x, 0)
    if not layers.underflow:
        largest = jnp.abs(x).max()
        x = x / jnp.where(largest > 0, largest, 1)
    return x, jnp.where(feeds, sizes, 0)
