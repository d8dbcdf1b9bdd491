"""The operations of an edge of NAS-Bench-201 and what is measured of them.

Each is there in parts as well, for tiles of an activation: what is summed over the
pixels of its input or output, what follows from the sums, and what it then makes of a
tile.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxproxy.measure import Activation, MeterSet
from jaxproxy.ops import avg_pool, conv, gram_moments, gram_sums
from jaxproxy.spaces._layers import EPS
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    EdgeParams,
    Table,
    at,
    blank,
    is_conv,
    used_edges,
)

_KINDS = ("relu", "conv", "bn_input", "bn", "skip", "pool")

Sums = tuple[Array, Array]
"""Of an activation float[..., C], float[C], and of its products, float[C, C]."""


class Edge(NamedTuple):
    """What an operation adds to its target, output * gain + offset, and its tape."""

    gain: Array
    offset: Array
    mean: Array
    cov: Array
    inverse: Array


def make_silence(meters: MeterSet, like: Array) -> Table:
    """Forward readings of one edge, all zero, for nodes like float[B, H, W, C]."""
    return {
        kind: blank(lambda a, kind=kind: meters.forward(kind, Activation(a)), like)
        for kind in _KINDS
    }


class Operations:
    """The operations; those in :meth:`branches` measure what they compute.

    They take the edge, its source node and the nodes, and give output, edge and
    readings. Readings of kinds that an operation does not have are zero.
    """

    def __init__(
        self, meters: MeterSet, params: EdgeParams, code: Array, like: Array
    ) -> None:
        """For nodes like float[B, H, W, C]."""
        self.meters, self.params, self.code = meters, params, code
        self.used = used_edges(code)
        self.shape, self.dtype = like.shape, like.dtype
        self.samples = math.prod(like.shape[:3])
        self.silence = make_silence(meters, like)
        channels, dtype = like.shape[-1], like.dtype
        self.zeros = jnp.zeros(channels, dtype)
        self.square = jnp.zeros((channels, channels), dtype)
        self.ones = jnp.ones(channels, dtype)
        self.plain = Edge(
            gain=self.ones,
            offset=self.zeros,
            mean=self.zeros,
            cov=self.square,
            inverse=self.ones * EPS**-0.5,
        )

    def branches(self) -> list[Callable[..., tuple[Array, Edge, Table]]]:
        """In the order of the codes, but for ``none``; the last for all-zero nodes."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(self, i: Array, source: Array, nodes: Array) -> tuple[Array, Edge, Table]:
        y = at(nodes, source)
        return y, *self.after_copy("skip", i, y)

    def pool(self, i: Array, source: Array, nodes: Array) -> tuple[Array, Edge, Table]:
        y = self.pooled(at(nodes, source))
        return y, *self.after_copy("pool", i, y)

    def conv1(self, i: Array, source: Array, nodes: Array) -> tuple[Array, Edge, Table]:
        sums = self.input_sums(at(nodes, source))
        edge, rows = self.after_conv1(i, lambda: at(nodes, source), sums)
        output = self.normalised1(i, at(nodes, source), edge)
        return output, edge._replace(gain=self.ones), rows

    def conv3(self, i: Array, source: Array, nodes: Array) -> tuple[Array, Edge, Table]:
        z, sums = self.convolved3(i, at(nodes, source))
        return z, *self.after_conv3(i, lambda: at(nodes, source), z, sums)

    def dead(self, i: Array, source: Array, nodes: Array) -> tuple[Array, Edge, Table]:
        """Any operation on zeros; rows of kinds that it does not have are masked."""
        zero = jnp.zeros(self.shape, self.dtype)
        return zero, *self.after_dead(i, zero)

    @staticmethod
    def pooled(x: Array) -> Array:
        return avg_pool(x, 3, padding=1, raw=True)

    @staticmethod
    def input_sums(x: Array) -> Sums:
        """Of what a 1x1 convolution sees of some images."""
        return gram_sums(_rectified(x))

    def normalised1(self, i: Array, x: Array, edge: Edge) -> Array:
        """1x1 convolution and normalisation but for the offset, in one product."""
        return _rectified(x) @ (self.params.conv1[i, 0, 0] * edge.gain)

    def convolved3(self, i: Array, x: Array) -> tuple[Array, Sums]:
        """3x3 convolution of some images, and its sums."""
        z = conv(jax.nn.relu(x), self.params.conv3[i], raw=True)
        return z, gram_sums(z)

    def after_copy(
        self, kind: str, i: Array, y: Array | Callable[[], Array]
    ) -> tuple[Edge, Table]:
        """Of an edge that normalises nothing."""
        rows = {kind: self.meters.forward(kind, self._activation(i, y))}
        return self.plain, self.silence | rows

    def after_conv1(
        self, i: Array, x: Callable[[], Array], sums: Sums
    ) -> tuple[Edge, Table]:
        """Of a 1x1 convolution of x with these sums of its input.

        Mean and covariance of its output follow from those of its input.
        """
        weight = self.params.conv1[i, 0, 0]
        input_mean, input_cov = gram_moments(sums, self.samples)
        mean, cov = input_mean @ weight, weight.T @ input_cov @ weight
        edge = self._normaliser(i, mean, cov)
        edge = edge._replace(mean=input_mean, cov=input_cov)
        relu = self._activation(
            i, lambda: _rectified(x()), lambda: (input_mean, input_cov)
        )
        z = self._activation(
            i,
            lambda: conv(relu.value, self.params.conv1[i], raw=True),
            lambda: (mean, cov),
        )

        def bn() -> Array:
            return self.normalised1(i, x(), edge) + edge.offset

        return edge, self._measure(i, relu, z, bn, edge)

    def after_conv3(
        self,
        i: Array,
        x: Callable[[], Array],
        z: Array | Callable[[], Array],
        sums: Sums,
    ) -> tuple[Edge, Table]:
        """Of a 3x3 convolution of x to z with these sums of z."""
        mean, cov = gram_moments(sums, self.samples)
        edge = self._normaliser(i, mean, cov)
        relu = self._activation(i, lambda: jax.nn.relu(x()))
        output = self._activation(i, z, lambda: (mean, cov))

        def bn() -> Array:
            return output.value * edge.gain + edge.offset

        return edge, self._measure(i, relu, output, bn, edge)

    def after_dead(
        self, i: Array, value: Array | Callable[[], Array]
    ) -> tuple[Edge, Table]:
        """Of any operation on zeros, the ``value``."""
        zero = self._activation(i, value, lambda: (self.zeros, self.square))
        convolves = is_conv(self.code[i % 6])
        offset = jnp.where(convolves, self.params.bias[i], 0)
        edge = self.plain._replace(offset=offset)

        def bn() -> Array:
            return zero.value + offset

        others = {kind: self.meters.forward(kind, zero) for kind in ("skip", "pool")}
        return edge, self._measure(i, zero, zero, bn, edge) | others

    def _activation(
        self,
        i: Array,
        value: Array | Callable[[], Array],
        moments: Callable[[], tuple[Array, Array]] | None = None,
    ) -> Activation:
        used = self.used[i % 6]
        return Activation(value, self.shape, moments=moments, used=used)

    def _normaliser(self, i: Array, mean: Array, cov: Array) -> Edge:
        inverse = lax.rsqrt(jnp.maximum(jnp.diagonal(cov), 0) + EPS)
        gain = inverse * self.params.scale[i]
        offset = self.params.bias[i] - mean * gain
        return Edge(gain, offset, mean, self.square, inverse)

    def _measure(
        self,
        i: Array,
        relu: Activation,
        z: Activation,
        bn: Callable[[], Array],
        edge: Edge,
    ) -> Table:
        def normalised() -> tuple[Array, Array]:
            gain = edge.inverse * self.params.scale[i]
            return self.params.bias[i], z.moments[1] * gain * gain[:, None]

        y = self._activation(i, bn, normalised)
        measured = {"relu": relu, "conv": z, "bn_input": z, "bn": y}
        rows = {kind: self.meters.forward(kind, a) for kind, a in measured.items()}
        return self.silence | rows


def _rectified(x: Array) -> Array:
    # A barrier: XLA would write it twice, once for each of its uses.
    return lax.optimization_barrier(jax.nn.relu(x))
