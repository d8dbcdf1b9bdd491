"""Passes: all that is run on one setup, for any number of proxies."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure._collect import collect_batches, make_scratch
from jaxproxy.measure._meter import Meter, MeterSet
from jaxproxy.measure._network import Model, Network
from jaxproxy.measure._readings import Layout, Readings, join
from jaxproxy.measure._setup import LOSSES, Setup
from jaxproxy.measure._tap import Slot
from jaxproxy.types import Batch


@dataclass(frozen=True)
class Pass:
    """The meters that share a setup, and thus its forward and backward passes.

    Their setups may differ in the number of batches; the pass has the largest.
    """

    setup: Setup
    meters: tuple[Meter, ...]

    @property
    def taps(self) -> tuple[Meter, ...]:
        """The meters that read taps."""
        return tuple(m for m in self.meters if m.phase != "network")

    @property
    def whole(self) -> tuple[Meter, ...]:
        """The meters that read the network as a whole."""
        return tuple(m for m in self.meters if m.phase == "network")

    @property
    def counts(self) -> dict[Meter, int] | None:
        """How many batches each meter of taps reads; None for all."""
        if self.setup.opening == self.setup:
            return None
        return {meter: meter.setup.batches for meter in self.taps}

    @property
    def inputs(self) -> str:
        """What is shown, in words: ``"8 x images, 16 a batch"``."""
        setup = self.setup
        count = f"{setup.batches} x " if setup.batches > 1 else ""
        size = f", {setup.batch_size} a batch" if setup.batch_size is not None else ""
        return f"{count}{setup.inputs}{size}{', one by one' if setup.single else ''}"

    @property
    def backward(self) -> bool:
        """Whether the taps need a backward pass."""
        return MeterSet(self.taps).needs_gradients()


def make_passes(meters: Iterable[Meter]) -> tuple[Pass, ...]:
    """One pass for all setups that open alike, in order of appearance; no meter twice.

    Raises:
      ValueError: two different meters of one name.
    """
    groups: dict[Setup, list[Meter]] = {}
    for meter in MeterSet.of(meters).meters:
        groups.setdefault(meter.setup.opening, []).append(meter)
    return tuple(
        Pass(max((m.setup for m in group), key=lambda s: s.batches), tuple(group))
        for group in groups.values()
    )


class PassInputs(NamedTuple):
    """What the passes of a setup run on; the same for all architectures."""

    params: Any
    batches: Batch
    """[M, B, ...]"""
    key: Array
    """For what meters of the whole network draw."""

    @property
    def batch(self) -> Batch:
        """The first batch."""
        return jax.tree.map(lambda leaf: leaf[0], self.batches)


class BoundPass(NamedTuple):
    """A pass with the networks of a space at a fidelity."""

    spec: Pass
    network: Network
    """For the taps."""
    plain: Network
    """For the meters of the whole network that ask for it."""
    loss: Callable[[Array, Array], Array]
    """Of the task, in place of cross-entropy."""

    def scratch(self, inputs: PassInputs, code: Array) -> Any:
        """Returns cleared buffers, to be handed from architecture to architecture."""
        # Weights need no pass, and without buffers to hand on none is run.
        if all(meter.phase == "weight" for meter in self.spec.taps):
            return None
        params = _chosen(self.network, inputs.params, code)
        return make_scratch(
            self.network, params, inputs.batch, code, self.spec.taps, self.spec.counts
        )

    def read(
        self, inputs: PassInputs, code: Array | None, scratch: Any = None
    ) -> tuple[Readings, Any]:
        """Returns the readings of one architecture, and the scratch for the next."""
        inputs = inputs._replace(params=_chosen(self.network, inputs.params, code))
        parts = []
        if self.spec.taps:
            readings, scratch = self._read_taps(inputs, code, scratch)
            parts.append(readings)
        if self.spec.whole:
            values = {
                meter.name: meter.measure(self._model(meter, inputs, code))[None]
                for meter in self.spec.whole
            }
            parts.append(_one_slot(values))
        return join(parts), scratch

    def _model(self, meter: Meter, inputs: PassInputs, code: Array | None) -> Model:
        network = self.plain if meter.plain else self.network
        return Model(
            network=_bound(network, code),
            params=inputs.params,
            batch=inputs.batch,
            code=code,
            key=inputs.key,
            loss=self.loss,
        )

    def _read_taps(
        self, inputs: PassInputs, code: Array | None, scratch: Any
    ) -> tuple[Readings, Any]:
        name = self.spec.setup.loss
        return collect_batches(
            self.network,
            inputs.params,
            inputs.batches,
            code,
            self.spec.taps,
            scratch,
            counts=self.spec.counts,
            loss=self.loss if name == "cross_entropy" else LOSSES[name],
        )


def _chosen(network: Network, params: Any, code: Array | None) -> Any:
    """Returns the parameters of the architecture alone."""
    if network.choose is None or code is None:
        return params
    return network.choose(params, code)


def _bound(network: Network, code: Array | None) -> Network:
    """Returns a network that draws parameters of the architecture alone."""
    return network._replace(init=lambda key: _chosen(network, network.init(key), code))


def _one_slot(values: dict[str, Array]) -> Readings:
    """Returns readings [1, ...] of the network as a whole, by meter name."""
    mask = {name: jnp.ones(1, bool) for name in values}
    slot = Slot("network", "network", 0, 1)
    return Readings(values, mask, Layout(tuple((name, (slot,)) for name in values)))


def read_passes(
    passes: Sequence[BoundPass],
    inputs: Sequence[PassInputs],
    code: Array | None,
    scratch: Sequence[Any] | None = None,
) -> tuple[Readings, list[Any]]:
    """Returns one architecture's readings of all passes, and scratch for the next."""
    buffers = scratch or [None] * len(passes)
    results = [
        one.read(own, code, left)
        for one, own, left in zip(passes, inputs, buffers, strict=True)
    ]
    return join([readings for readings, _ in results]), [left for _, left in results]
