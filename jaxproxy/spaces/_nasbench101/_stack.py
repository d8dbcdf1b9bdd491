"""A stack of NAS-Bench-101: its modules' operations and widths are data.

The vertices of a module are a loop, and the modules of a stack another around it. A
switch chooses the convolution of a vertex at the width that it has; what treats every
channel alike (BatchNorm, ReLU, pooling, sums) runs at the largest width, where the
channels that an architecture lacks are zero, and is measured at its own. A stack of C
channels has at most five widths W: C over one to four, rounded down and up. So the one
program has 2 W + 1 branches of operations for a stack, W + 1 of projections, and W more
where the first module of the stack has fewer inputs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from jaxproxy.measure import WEIGHTS, Draws, Tap, scan, switch
from jaxproxy.ops import max_pool
from jaxproxy.spaces._layers import normalise, tapped_conv
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._nasbench101._codes import INTERIOR
from jaxproxy.spaces._nasbench101._graph import Graph, Widths, all_sizes, module_widths

_NAMES = [f"v{v}" for v in range(1, INTERIOR + 1)]


class _Layer(NamedTuple):
    """Parameters of a convolution, at every width, and of its BatchNorm."""

    kernels: tuple[Array, ...]
    """[..., k, k, Cin, C] by width."""
    scale: Array
    """[..., C] of the largest width."""
    bias: Array


class _Layers(nnx.Module):
    """A convolution for each of some places, at every width."""

    def __init__(
        self,
        places: tuple[int, ...],
        size: int,
        inputs: int | None,
        sizes: tuple[int, ...],
        mode: Mode,
        draws: Draws,
    ) -> None:
        """Draws kernels [*places, size, size, Cin, C]; Cin is C if not ``inputs``."""
        widest = sizes[0]
        shape = (*places, size, size, inputs or widest, widest)
        numbers = mode._replace(weights="normal").draw(draws, shape, len(places))
        draw = WEIGHTS[mode.weights]
        self.kernels = nnx.List(
            [
                nnx.Param(
                    draw(
                        numbers[..., : inputs or width, :width],
                        size * size * (inputs or width),
                        size * size * width,
                    )
                )
                for width in sizes
            ]
        )
        self.scale = nnx.Param(jnp.ones((*places, widest)))
        self.bias = nnx.Param(jnp.zeros((*places, widest)))

    def params(self) -> _Layer:
        kernels = tuple(kernel[...] for kernel in self.kernels)
        return _Layer(kernels, self.scale[...], self.bias[...])


class _Sized(NamedTuple):
    """A layer whose channels are the first ones of an array; the others are zero.

    What treats every channel alike need not know how many there are; what is measured
    must.
    """

    sizes: tuple[int, ...]
    index: Array
    """int32[]: 0 for no layer, 1 for the first of the sizes..."""
    tap: Tap

    def measure(self, name: str, x: Array, kind: str, *phases: str) -> Array:
        """Array float[..., C] with its channels measured if a meter wants them."""
        recorder = self.tap.recorder
        if not any(recorder.meters.wants(phase, kind) for phase in phases):
            return recorder.replaced(kind, x) if "weight" in phases else x

        def at(size: int) -> Any:
            def branch(x: Array, tap: Tap) -> Array:
                measure = tap.parameter if "weight" in phases else tap
                return _padded(measure(name, x[..., :size], kind), x.shape[-1])

            return branch

        branches = [lambda x, tap: x, *map(at, self.sizes)]
        return switch(self.tap, self.index, branches, x, remat=True)

    def activation(self, name: str, x: Array, kind: str) -> Array:
        return self.measure(name, x, kind, "forward", "backward")

    def rectified(
        self, name: str, x: Array, scale: Array, bias: Array, norm: str
    ) -> Array:
        """BatchNorm and ReLU of float[B, H, W, C]; zero if there is no layer."""
        x = self.activation(f"{name}.bn.input", x, "bn_input")
        scale = self.measure(f"{name}.bn.weight", scale, "bn_w", "weight", "gradient")
        bias = self.measure(f"{name}.bn.bias", bias, "bn_b", "weight", "gradient")
        x = self.activation(f"{name}.bn", normalise(x, scale, bias, norm), "bn")
        size = jnp.array([0, *self.sizes])[self.index]
        x = _cut(jax.nn.relu(x), size)
        return self.activation(f"{name}.relu", x, "relu")


class Stack(nnx.Module):
    """Modules with equally many output channels."""

    def __init__(
        self,
        number: int,
        inputs: int,
        channels: int,
        cells: int,
        mode: Mode,
        draws: Draws,
    ) -> None:
        """Draws the parameters; the first module has ``inputs`` channels to read."""
        sizes, places = all_sizes(channels), (cells, INTERIOR)
        self.inputs, self.channels, self.mode = inputs, channels, mode
        self.names = tuple(f"stacks.{number}.{i}" for i in range(cells))
        self.conv3 = _Layers(places, 3, None, sizes, mode, draws)
        self.conv1 = _Layers(places, 1, None, sizes, mode, draws)
        self.proj = _Layers(places, 1, channels, sizes, mode, draws)
        self.last = _Layers((cells,), 1, channels, sizes[:1], mode, draws)
        # The first module's own projections; those of its place above are not used.
        self.first = _Layers((INTERIOR,), 1, inputs, sizes, mode, draws)
        self.first_last = _Layers((), 1, inputs, sizes[:1], mode, draws)

    def __call__(self, x: Array, graph: Graph, tap: Tap) -> Array:
        """float[B, H, W, C] of float[B, H, W, inputs]."""
        widths = module_widths(graph, self.channels)
        layers = (self.conv3, self.conv1, self.proj, self.last)
        xs = jnp.arange(len(self.names)) == 0, *(layer.params() for layer in layers)

        def module(x: Array, here: Any, tap: Tap) -> Array:
            return self._module(x, graph, widths, here, tap)

        return scan(tap, self.names, module, _padded(x, self.channels), xs)

    def _module(
        self, x: Array, graph: Graph, widths: Widths, here: Any, tap: Tap
    ) -> Array:
        first, conv3, conv1, proj, last = here

        def vertex(carry: tuple[Array, Array], here: Any, tap: Tap) -> Any:
            outputs, total = carry
            place, read, feeds, fed, width, offset, op, layers = here
            conv3, conv1, *projections = layers
            y = jnp.where(read[:, None, None, None, None], outputs, 0).sum(0)
            y = y + self._projected(
                "proj", x, jnp.where(fed, width, 0), first, projections, tap
            )
            y = self._operation(y, width, op, conv3, conv1, tap)
            outputs = lax.dynamic_update_index_in_dim(outputs, y, place, 0)
            # The channels that go round are zero.
            return outputs, total + jnp.where(feeds, jnp.roll(y, offset, -1), 0)

        xs = (
            jnp.arange(INTERIOR),
            graph.edges[1:-1, 1:-1].T,
            graph.edges[1:-1, -1],
            graph.edges[0, 1:-1],
            jnp.where(graph.live, 1 + widths.index, 0),
            widths.offsets,
            graph.ops,
            (conv3, conv1, proj, self.first.params()),
        )
        outputs = jnp.zeros((INTERIOR, *x.shape), x.dtype)
        _, total = scan(tap, _NAMES, vertex, (outputs, jnp.zeros_like(x)), xs)
        projections = [last, self.first_last.params()]
        fed = graph.edges[0, -1].astype(jnp.int32)
        total = total + self._projected("output.proj", x, fed, first, projections, tap)
        return tap("output", self.mode.rescaled("output", total, tap), "cell")

    def _projected(
        self,
        name: str,
        x: Array,
        width: Array,
        first: Array,
        layers: list[_Layer],
        tap: Tap,
    ) -> Array:
        """Projection of the module's input to a width; zero where that is 0."""
        if self.inputs == self.channels:
            layers = layers[:1]
        num, branches = len(layers[0].kernels), [lambda x, tap: jnp.zeros_like(x)]
        for layer in layers:
            branches += [self._convolution(name, kernel) for kernel in layer.kernels]
        index = width
        if len(layers) > 1:
            index = jnp.where(first & (width > 0), width + num, width)
        x = switch(tap, index, branches, x, remat=True)
        sized = _Sized(all_sizes(self.channels)[:num], width, tap)
        scale, bias = layers[0].scale, layers[0].bias
        return sized.rectified(name, x, scale, bias, self.mode.norm)

    def _operation(
        self,
        x: Array,
        width: Array,
        op: Array,
        conv3: _Layer,
        conv1: _Layer,
        tap: Tap,
    ) -> Array:
        """Operation at a width; zero where that is 0."""
        num, branches = len(conv3.kernels), [lambda x, tap: max_pool(x, 3, padding=1)]
        for kernels in (conv3.kernels, conv1.kernels):
            branches += [self._convolution("op", kernel) for kernel in kernels]
        # Predecessors may be wider, and pooling does not cut them.
        x = _cut(x, jnp.array([0, *all_sizes(self.channels)])[width])
        convolved = (op < 2) & (width > 0)
        index = jnp.where(convolved, width + num * op, 0)
        x = switch(tap, index, branches, x, remat=True)
        normed = _Sized(all_sizes(self.channels), jnp.where(convolved, width, 0), tap)
        y = normed.rectified("op", x, conv3.scale, conv3.bias, self.mode.norm)
        pooled = normed._replace(index=jnp.where(convolved, 0, width))
        return jnp.where(convolved, y, pooled.activation("op.pool", x, "pool"))

    def _convolution(self, name: str, kernel: Array) -> Any:
        """Convolution of the first channels, as many as a kernel takes."""

        def branch(x: Array, tap: Tap) -> Array:
            x = x[..., : kernel.shape[2]]
            y = tapped_conv(f"{name}.conv", x, kernel, tap, portable=self.mode.plain)
            return _padded(y, self.channels)

        return branch


def _cut(x: Array, size: Array) -> Array:
    """With zeros behind as many channels."""
    return jnp.where(jnp.arange(x.shape[-1]) < size, x, 0)


def _padded(x: Array, channels: int) -> Array:
    """With zero channels behind those that there are."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, channels - x.shape[-1])])
