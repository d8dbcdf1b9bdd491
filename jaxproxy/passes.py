"""Passes: all that is run on one setup, for any number of proxies."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxproxy.collect import collect, collect_batches, make_scratch
from jaxproxy.jacobian import Jacobian, logit_jacobian, tangent_kernel
from jaxproxy.meters import Meter, Probe
from jaxproxy.network import Network
from jaxproxy.readings import Layout, Readings, join
from jaxproxy.setups import LOSSES, Setup, cross_entropy
from jaxproxy.taps import Slot, Tap
from jaxproxy.types import Array, Batch, Fidelity

if TYPE_CHECKING:
    from jaxproxy.spaces import Space

__all__ = [
    "Model",
    "Pass",
    "Prepared",
    "Runner",
    "make_passes",
    "make_runner",
    "run_passes",
]


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
    def backward(self) -> bool:
        """Whether the taps need a backward pass."""
        return Probe(self.taps).needs_gradients()


def make_passes(meters: Iterable[Meter]) -> tuple[Pass, ...]:
    """One pass for all setups that open alike, in order of appearance; no meter twice.

    Raises:
      ValueError: two different meters of one name.
    """
    groups: dict[Setup, list[Meter]] = {}
    for meter in Probe.of(meters).meters:
        groups.setdefault(meter.setup.opening, []).append(meter)
    return tuple(
        Pass(max((m.setup for m in group), key=lambda s: s.batches), tuple(group))
        for group in groups.values()
    )


class Prepared(NamedTuple):
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


class Model(NamedTuple):
    """A network bound to an architecture: what ``network`` meters read.

    For a meter that asks for the ``plain`` network, its functions can be differentiated
    with respect to parameters and inputs, and twice.
    """

    network: Network
    params: Any
    batch: Batch
    """The first batch of the setup."""
    code: Array | None
    key: Array
    loss: Callable[[Array, Array], Array] = cross_entropy
    """Of the task."""

    def logits(self, params: Any, x: Array) -> Array:
        """float[B, K] of images float[B, R, R, 3]."""
        return self.network.apply(params, x, self.code, Tap(Probe(())))

    def jacobian(self) -> Jacobian:
        """Of the logits of the images, which must not depend on each other."""
        return logit_jacobian(self.network, self.params, self.batch.x, self.code)

    def derivative(self, meter: Meter, direction: Any) -> Array:
        """Derivative float[L, ...] of the readings of a meter of gradients.

        Forward mode: of the parameters along ``direction``, a tree like them.
        """

        def read(params: Any) -> Array:
            given = self.network, params, self.batch, self.code, [meter]
            return collect(*given, loss=self.loss)[meter]

        return jax.jvp(read, (self.params,), (direction,))[1]

    def tangent_kernel(self) -> Array:
        """float[B, B], of the sum of each image's logits."""
        return tangent_kernel(self.network, self.params, self.batch.x, self.code)


class Runner(NamedTuple):
    """A pass with the networks that it runs."""

    run: Pass
    network: Network
    """For the taps."""
    plain: Network
    """For the meters of the whole network that ask for it."""
    loss: Callable[[Array, Array], Array]
    """Of the task, in place of cross-entropy."""

    def scratch(self, prepared: Prepared, code: Array) -> Any:
        """Cleared buffers, to be handed from architecture to architecture."""
        # Weights need no pass, and without buffers to hand on none is run.
        if all(meter.phase == "weight" for meter in self.run.taps):
            return None
        params = _chosen(self.network, prepared.params, code)
        return make_scratch(
            self.network, params, prepared.batch, code, self.run.taps, self.run.counts
        )

    def __call__(
        self, prepared: Prepared, code: Array | None, scratch: Any
    ) -> tuple[Readings, Any]:
        """Readings of one architecture, and the scratch for the next."""
        prepared = prepared._replace(
            params=_chosen(self.network, prepared.params, code)
        )
        parts = []
        if self.run.taps:
            readings, scratch = self._tapped(prepared, code, scratch)
            parts.append(readings)
        if self.run.whole:
            values = {
                meter.name: meter.measure(self._model(meter, prepared, code))[None]
                for meter in self.run.whole
            }
            parts.append(_one_slot(values))
        return join(parts), scratch

    def _model(self, meter: Meter, prepared: Prepared, code: Array | None) -> Model:
        network = self.plain if meter.plain else self.network
        return Model(
            _bound(network, code), prepared.params, prepared.batch, code,
            prepared.key, self.loss,
        )  # fmt: skip

    def _tapped(
        self, prepared: Prepared, code: Array | None, scratch: Any
    ) -> tuple[Readings, Any]:
        name = self.run.setup.loss
        return collect_batches(
            self.network, prepared.params, prepared.batches, code, self.run.taps,
            scratch, counts=self.run.counts,
            loss=self.loss if name == "cross_entropy" else LOSSES[name],
        )  # fmt: skip


def _chosen(network: Network, params: Any, code: Array | None) -> Any:
    """The parameters of the architecture alone."""
    if network.choose is None or code is None:
        return params
    return network.choose(params, code)


def _bound(network: Network, code: Array | None) -> Network:
    """A network that draws parameters of the architecture alone."""
    return network._replace(init=lambda key: _chosen(network, network.init(key), code))


def _one_slot(values: dict[str, Array]) -> Readings:
    """Readings [1, ...] of the network as a whole, by meter name."""
    mask = {name: jnp.ones(1, bool) for name in values}
    slot = Slot("network", "network", 0, 1)
    return Readings(values, mask, Layout(tuple((name, (slot,)) for name in values)))


def make_runner(space: "Space", fidelity: Fidelity, run: Pass) -> Runner:
    """A pass with the networks of a space.

    Raises:
      ValueError: the space has no network for the setup.
    """
    modes = run.setup.modes
    network = _make_network(space, fidelity, modes)
    loss = space.loss or cross_entropy
    if not any(meter.plain for meter in run.whole):
        return Runner(run, network, network, loss)
    # A space whose only network can be differentiated freely has no such mode.
    if "plain" in inspect.signature(space.network).parameters:
        modes = {**modes, "plain": True}
    return Runner(run, network, _make_network(space, fidelity, modes), loss)


def _make_network(space: "Space", fidelity: Fidelity, modes: dict[str, Any]) -> Network:
    known = inspect.signature(space.network).parameters
    missing = [f"{name}={value}" for name, value in modes.items() if name not in known]
    if missing:
        raise ValueError(f"{space.name} has no network with {', '.join(missing)}")
    return space.network(fidelity, **modes)


def run_passes(
    runners: Sequence[Runner],
    prepared: Sequence[Prepared],
    code: Array | None,
    scratch: Sequence[Any] | None = None,
) -> tuple[Readings, list[Any]]:
    """Readings of one architecture from all passes, and their scratch for the next."""
    given = zip(runners, prepared, scratch or [None] * len(runners), strict=True)
    parts = [runner(ready, code, left) for runner, ready, left in given]
    return join([readings for readings, _ in parts]), [left for _, left in parts]
