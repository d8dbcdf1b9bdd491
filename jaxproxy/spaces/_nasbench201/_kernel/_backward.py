"""Gradients of the operations of an edge of NAS-Bench-201, and their measurement.

Notation: z is the output of a convolution, n = (z - mean) * inverse its normalised
form, y = scale * n + bias, S the number of pixels. Normalisation's gradient is
dz = scale * inverse * (dy - sum(dy) / S - n * sum(dy * n) / S).

As the operations, gradients are there in parts as well, for tiles of an activation.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure import Activation, MeterSet
from jaxproxy.ops import avg_pool, channel_product, channel_sum, conv_gradients
from jaxproxy.spaces._nasbench201._kernel._buffers import (
    CONV3,
    EdgeParams,
    Table,
    Tape,
    at,
    store,
)

KINDS = ("relu", "conv", "bn")
"""Kinds of activations whose gradients can be measured."""


class Pull(NamedTuple):
    """What takes dy to dr through a 1x1 convolution and its normalisation.

    dr = dz W^T, with dz written out: two products with small matrices.
    """

    kernel: Array
    through: Array
    offset: Array

    def __call__(self, x: Array, dy: Array) -> Array:
        """For some images of the source x, dr."""
        return dy @ self.kernel - jax.nn.relu(x) @ self.through + self.offset


class Gradients:
    """The gradients; those in :meth:`branches` are measured on the way.

    They take the edge, its source node, the row of its target's gradient, the gradients
    and the table of readings; they return the gradient of the source.
    """

    def __init__(
        self, meters: MeterSet, params: EdgeParams, tape: Tape, code: Array
    ) -> None:
        """For what the forward loop left."""
        self.meters, self.params, self.tape, self.code = meters, params, tape, code
        self.shape = tape.buffers.nodes.shape[1:]
        self.dtype = tape.buffers.nodes.dtype
        self.samples = math.prod(self.shape[:3])

    def branches(self) -> list[Callable[..., tuple[Array, Table]]]:
        """In the order of the codes, but for ``none``; the last for all-zero nodes."""
        return [self.skip, self.conv1, self.conv3, self.pool, self.dead]

    def skip(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        return at(gradients, target), table

    def pool(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        return self.spread(at(gradients, target)), table

    def conv1(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy = at(self.tape.buffers.nodes, source), at(gradients, target)
        sums = self.sums1(x, dy)
        pull, table = self.after1(i, sums, table)
        dr = pull(x, dy)
        if self.meters.wants("backward", *KINDS):
            table = self._activations1(i, x, dy, dr, sums, table)
        return jnp.where(x > 0, dr, 0), table

    def conv3(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        x, dy = at(self.tape.buffers.nodes, source), at(gradients, target)
        z = at(self.tape.buffers.outputs, i)
        sums = self.sums3(i, dy, z)
        dr, dz, dkernel = self.pull3(i, x, dy, z, sums)
        table = self.after3(i, dkernel, sums, table)
        values = jax.nn.relu(x), z, self._normal(i, z)
        table = self._activations(i, values, (dr, dz, dy), table)
        return jnp.where(x > 0, dr, 0), table

    def dead(
        self, i: Array, source: Array, target: Array, gradients: Array, table: Table
    ) -> tuple[Array, Table]:
        """A convolution of an all-zero node."""
        dy, zero = at(gradients, target), jnp.zeros(self.shape, self.dtype)
        dbias = channel_sum(dy)
        table = self.after_dead(i, dbias, table)
        if self.meters.wants("backward", *KINDS):
            gain = self.tape.inverse[i] * self.params.scale[i]
            dz = gain * (dy - dbias / self.samples)
            kernels = self.params.conv1[i], self.params.conv3[i]
            small, large = (conv_gradients(zero, k, dz)[0] for k in kernels)
            dr = jnp.where(self.code[i % 6] == CONV3, large, small)
            table = self._activations(i, (zero, zero, zero), (dr, dz, dy), table)
        return zero, table

    @staticmethod
    def spread(dy: Array) -> Array:
        """Gradient of pooling."""
        _, pull = jax.vjp(lambda x: avg_pool(x, 3, padding=1), jnp.zeros_like(dy))
        return pull(dy)[0]

    @staticmethod
    def sums1(x: Array, dy: Array) -> tuple[Array, Array]:
        """Sums of dy and of its products with r, float[C] and float[C, C]."""
        return channel_sum(dy), channel_product(jax.nn.relu(x), dy)

    def after1(
        self, i: Array, sums: tuple[Array, Array], table: Table
    ) -> tuple[Pull, Table]:
        """Of a 1x1 convolution, given the sums: what pulls back, and readings."""
        weight, (dbias, _) = self.params.conv1[i, 0, 0], sums
        mean, cov, inverse = self.tape.mean[i], self.tape.cov[i], self.tape.inverse[i]
        gain = inverse * self.params.scale[i]
        cross, dscale = self._cross1(i, sums)
        dweight = gain * (cross - (cov @ weight) * (inverse * dscale))
        kernels = weight[None, None], dweight[None, None]
        table = self._parameters(i, *kernels, dscale, dbias, table)
        through = (weight * (gain * inverse * dscale / self.samples)) @ weight.T
        offset = mean @ through - (weight * gain) @ (dbias / self.samples)
        return Pull((weight * gain).T, through, offset), table

    def sums3(self, i: Array, dy: Array, z: Array) -> tuple[Array, Array]:
        """Sums of dy and dy * n, float[C] each: gradients of bias and scale."""
        return channel_sum(dy), channel_sum(dy * self._normal(i, z))

    def pull3(
        self, i: Array, x: Array, dy: Array, z: Array, sums: tuple[Array, Array]
    ) -> tuple[Array, Array, Array]:
        """For some images dr and dz, and what they add to the kernel's gradient."""
        dz = self._through_norm(i, dy, self._normal(i, z), sums)
        dr, dkernel = conv_gradients(jax.nn.relu(x), self.params.conv3[i], dz)
        return dr, dz, dkernel

    def after3(
        self, i: Array, dkernel: Array, sums: tuple[Array, Array], table: Table
    ) -> Table:
        """Readings of the parameters of a 3x3 convolution."""
        dbias, dscale = sums
        return self._parameters(i, self.params.conv3[i], dkernel, dscale, dbias, table)

    def after_dead(self, i: Array, dbias: Array, table: Table) -> Table:
        """Readings of the parameters of a convolution of zeros."""
        values = self.meters.gradient("bn_b", self.params.bias[i], dbias)
        return store(table, "bn_b", i, values)

    def _cross1(self, i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        """Covariance of r and dy, times S, and dscale: the rest follows from them."""
        cross = sums[1] - self.tape.mean[i][:, None] * sums[0]
        weight, inverse = self.params.conv1[i, 0, 0], self.tape.inverse[i]
        return cross, (weight * cross).sum(0) * inverse

    def _normal(self, i: Array, z: Array) -> Array:
        return (z - self.tape.mean[i]) * self.tape.inverse[i]

    def _through_norm(
        self, i: Array, dy: Array, n: Array, sums: tuple[Array, Array]
    ) -> Array:
        dbias, dscale = sums
        gain = self.tape.inverse[i] * self.params.scale[i]
        return gain * (dy - n * (dscale / self.samples) - dbias / self.samples)

    def _parameters(
        self,
        i: Array,
        kernel: Array,
        dkernel: Array,
        dscale: Array,
        dbias: Array,
        table: Table,
    ) -> Table:
        for kind, weight, gradient in (
            ("conv_w", kernel, dkernel),
            ("bn_w", self.params.scale[i], dscale),
            ("bn_b", self.params.bias[i], dbias),
        ):
            table = store(table, kind, i, self.meters.gradient(kind, weight, gradient))
        return table

    def _activations1(
        self,
        i: Array,
        x: Array,
        dy: Array,
        dr: Array,
        sums: tuple[Array, Array],
        table: Table,
    ) -> Table:
        """Activations of a 1x1 convolution, most of which are made for this alone."""
        r, weight = jax.nn.relu(x), self.params.conv1[i, 0, 0]
        z = r @ weight
        n = (z - self.tape.mean[i] @ weight) * self.tape.inverse[i]
        _, dscale = self._cross1(i, sums)
        dz = self._through_norm(i, dy, n, (sums[0], dscale))
        return self._activations(i, (r, z, n), (dr, dz, dy), table)

    def _activations(
        self,
        i: Array,
        values: tuple[Array, Array, Array],
        cotangents: tuple[Array, Array, Array],
        table: Table,
    ) -> Table:
        """Measures r, z and n, from which it makes y, with the gradients dr, dz, dy."""
        if not self.meters.wants("backward", *KINDS):
            return table
        r, z, n = values
        y = n * self.params.scale[i] + self.params.bias[i]
        for kind, x, dx in zip(KINDS, (r, z, y), cotangents, strict=True):
            table = store(table, kind, i, self.meters.backward(kind, Activation(x), dx))
        return table
