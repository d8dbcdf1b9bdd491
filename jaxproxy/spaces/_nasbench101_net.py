"""The network of NAS-Bench-101: its vertices' operations and widths are data.

The vertices of a module are a loop, and the modules of a stack another around it; a
switch chooses the operation of a vertex at the width that it has, so that no channel is
computed that the architecture lacks. A stack of C channels has at most seven widths: C
over one to five, rounded down and up. In each, a vertex is compiled with three
operations and a projection, so the one program has up to 28 branches for a stack, 35
where the first module has fewer inputs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxproxy import flow
from jaxproxy.network import Network, Tap, from_nnx
from jaxproxy.ops import max_pool
from jaxproxy.setups import WEIGHTS
from jaxproxy.spaces._layers import (
    ConvBN,
    Linear,
    Mode,
    normalise,
    tapped_conv,
)
from jaxproxy.spaces._nasbench101 import INTERIOR, NUM_VERTICES, OPS, SOURCES, TARGETS
from jaxproxy.types import Array, Fidelity

__all__ = ["ModuleNetwork", "network"]

_STACKS = 3
_NAMES = [f"v{v}" for v in range(1, INTERIOR + 1)]


def network(
    fidelity: Fidelity,
    *,
    num_classes: int = 10,
    weights: str = "kaiming",
    norm: str = "batch",
    plain: bool = False,
) -> Network:
    """Network of the space at a fidelity; batches may have any size.

    Args:
      fidelity: ``width`` are the channels of the stem and the first stack, 128 in the
        trained network, and ``cells`` the modules of each stack, 3 there.
      num_classes: outputs.
      weights: name in ``setups.WEIGHTS``.
      norm: name in ``setups.NORMS``.
      plain: of convolutions that can be differentiated twice.

    Raises:
      ValueError: fewer channels than the five that an output can be made of.
    """
    if fidelity.width < INTERIOR:
        raise ValueError(
            f"nasbench101 needs a width of at least {INTERIOR}, since as many vertices "
            f"can share the channels, got {fidelity.width}"
        )
    return from_nnx(
        lambda rngs: ModuleNetwork(
            width=fidelity.width,
            cells=fidelity.cells,
            num_classes=num_classes,
            mode=Mode(weights, norm, plain),
            rngs=rngs,
        ),
        tapped=True,
    )


class _Graph(NamedTuple):
    """The pruned graph of a code."""

    edges: Array
    """bool[7, 7]."""
    ops: Array
    """int32[5]."""
    live: Array
    """bool[5], which of vertices 1 to 5 are on a path."""


def _graph(code: Array) -> _Graph:
    edges = jnp.zeros((NUM_VERTICES, NUM_VERTICES), bool)
    edges = edges.at[SOURCES, TARGETS].set(code[: len(SOURCES)] > 0)
    ends = jnp.arange(NUM_VERTICES)
    fed, read = ends == 0, ends == NUM_VERTICES - 1
    # After as many steps as a path can have edges, nothing changes any more.
    for _ in range(NUM_VERTICES - 1):
        fed = fed | (edges & fed[:, None]).any(0)
        read = read | (edges & read[None]).any(1)
    live = fed & read
    edges = edges & live[:, None] & live[None]
    return _Graph(edges, code[len(SOURCES) :], live[1:-1])


class _Widths(NamedTuple):
    """Channels of the vertices of a module with some number of output channels."""

    sizes: tuple[int, ...]
    """Those that any architecture can have, descending."""
    index: Array
    """int32[5], into the sizes."""
    offsets: Array
    """int32[5], where a vertex begins in the output, if it feeds it."""


def _sizes(channels: int) -> tuple[int, ...]:
    counts = range(1, INTERIOR + 1)
    sizes = {n for c in counts for n in (channels // c, -(-channels // c))}
    return tuple(sorted(sizes, reverse=True))


def _widths(graph: _Graph, channels: int) -> _Widths:
    sizes = _sizes(channels)
    feeds = graph.edges[1:-1, -1]
    count = jnp.maximum(feeds.sum(), 1)
    share = channels // count + (jnp.cumsum(feeds) <= channels % count)
    own = jnp.argmax(jnp.array(sizes)[None] == share[:, None], 1)
    index = [jnp.where(feeds[v], own[v], len(sizes) - 1) for v in range(INTERIOR)]
    for v in range(INTERIOR - 2, -1, -1):
        # The widest successor has the smallest index.
        for later in range(v + 1, INTERIOR):
            wider = graph.edges[v + 1, later + 1] & ~feeds[v]
            index[v] = jnp.where(
                wider, jnp.minimum(index[v], index[later]), index[v]
            )
    share = jnp.where(feeds, share, 0)
    return _Widths(sizes, jnp.stack(index).astype(jnp.int32), jnp.cumsum(share) - share)


class ModuleNetwork(nnx.Module):
    """All operations of all vertices of three stacks of modules, at all their widths.

    Every architecture reads the same parameters; kernels of one vertex at several
    widths begin with the same random numbers, scaled for their fan-in. BatchNorm scales
    are one, biases zero.

    References:
      Ying et al., "NAS-Bench-101", ICML 2019, arXiv:1902.09635.
    """

    def __init__(
        self, *, width: int, cells: int, num_classes: int, mode: Mode, rngs: nnx.Rngs
    ) -> None:
        """Draws the parameters of ``cells`` modules a stack."""
        self.mode = mode
        self.stem = ConvBN(3, 3, width, mode, rngs)
        inputs = [width, width, 2 * width]
        self.stacks = nnx.List(
            [
                _Stack(i, inputs[i], width << i, cells, mode, rngs)
                for i in range(_STACKS)
            ]
        )
        self.classifier = Linear(width << (_STACKS - 1), num_classes, mode, rngs)

    def __call__(self, x: Array, code: Array, tap: Tap) -> Array:
        """Logits float[B, K] of images float[B, R, R, 3] through a code int32[26]."""
        graph = _graph(code)
        x = self.stem("stem", tap("input", x, "input"), tap)
        x = tap("stem.relu", jax.nn.relu(x), "relu")
        x = tap("stem", self.mode.rescaled("stem", x, tap), "stem")
        for i, stack in enumerate(self.stacks):
            if i:
                x = tap(f"pools.{i - 1}", max_pool(x, 2, stride=2), "pool")
            x = stack(x, graph, tap)
        x = tap("features", x, "features")
        return self.classifier("classifier", x.mean((1, 2)), tap)


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
        rngs: nnx.Rngs,
    ) -> None:
        """Draws kernels [*places, size, size, Cin, C]; Cin is C if not ``inputs``."""
        widest = sizes[0]
        shape = (*places, size, size, inputs or widest, widest)
        numbers = mode._replace(weights="normal").draw(rngs, shape, len(places))
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
        probe = self.tap.probe
        if not any(probe.wants(phase, kind) for phase in phases):
            return x

        def at(size: int) -> Any:
            def branch(x: Array, tap: Tap) -> Array:
                measure = tap.parameter if "weight" in phases else tap
                return _padded(measure(name, x[..., :size], kind), x.shape[-1])

            return branch

        branches = [lambda x, tap: x, *map(at, self.sizes)]
        return flow.switch(self.tap, self.index, branches, x)

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
        x = jnp.where(jnp.arange(x.shape[-1]) < size, jax.nn.relu(x), 0)
        return self.activation(f"{name}.relu", x, "relu")


class _Stack(nnx.Module):
    """Modules with equally many output channels."""

    def __init__(
        self,
        number: int,
        inputs: int,
        channels: int,
        cells: int,
        mode: Mode,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the parameters; the first module has ``inputs`` channels to read."""
        sizes, places = _sizes(channels), (cells, INTERIOR)
        self.inputs, self.channels, self.mode = inputs, channels, mode
        self.names = tuple(f"stacks.{number}.{i}" for i in range(cells))
        self.conv3 = _Layers(places, 3, None, sizes, mode, rngs)
        self.conv1 = _Layers(places, 1, None, sizes, mode, rngs)
        self.proj = _Layers(places, 1, channels, sizes, mode, rngs)
        self.last = _Layers((cells,), 1, channels, sizes[:1], mode, rngs)
        # The first module's own projections; those of its place above are not used.
        self.first = _Layers((INTERIOR,), 1, inputs, sizes, mode, rngs)
        self.first_last = _Layers((), 1, inputs, sizes[:1], mode, rngs)

    def __call__(self, x: Array, graph: _Graph, tap: Tap) -> Array:
        """float[B, H, W, C] of float[B, H, W, inputs]."""
        widths = _widths(graph, self.channels)
        layers = (self.conv3, self.conv1, self.proj, self.last)
        xs = jnp.arange(len(self.names)) == 0, *(layer.params() for layer in layers)

        def module(x: Array, here: Any, tap: Tap) -> Array:
            return self._module(x, graph, widths, here, tap)

        return flow.scan(tap, self.names, module, _padded(x, self.channels), xs)

    def _module(
        self, x: Array, graph: _Graph, widths: _Widths, here: Any, tap: Tap
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
        _, total = flow.scan(tap, _NAMES, vertex, (outputs, jnp.zeros_like(x)), xs)
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
        x = flow.switch(tap, index, branches, x)
        sized = _Sized(_sizes(self.channels)[:num], width, tap)
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
        convolved = (op < 2) & (width > 0)
        x = flow.switch(tap, jnp.where(convolved, width + num * op, 0), branches, x)
        normed = _Sized(_sizes(self.channels), jnp.where(convolved, width, 0), tap)
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


def _padded(x: Array, channels: int) -> Array:
    """With zero channels behind those that there are."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, channels - x.shape[-1])])
