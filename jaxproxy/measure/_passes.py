"""Passes: all that is run on one setup, for any number of proxies."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax import Array

from jaxproxy.measure._collect import collect_batches, make_scratch
from jaxproxy.measure._equal_weights import EqualWeights, EqualWeightsMeter
from jaxproxy.measure._meter import Meter, MeterSet
from jaxproxy.measure._network import Model, Network, NetworkMeter
from jaxproxy.measure._readings import Layout, Readings, join
from jaxproxy.measure._setup import LOSSES, Setup
from jaxproxy.measure._slot import Slot
from jaxproxy.types import Batch


@dataclass(frozen=True)
class _Shared:
    """The meters that share a setup, and what they are shown.

    Their setups may differ in the number of batches; the pass has the largest.
    """

    setup: Setup
    meters: tuple[Meter, ...]

    @property
    def inputs(self) -> str:
        """What is shown, in words: ``"8 x images, 16 a batch"``."""
        setup = self.setup
        count = f"{setup.batches} x " if setup.batches > 1 else ""
        size = f", {setup.batch_size} a batch" if setup.batch_size is not None else ""
        return f"{count}{setup.inputs}{size}{', one by one' if setup.single else ''}"


@final
class TapPass(_Shared):
    """Meters of taps and of the network as a whole, on one network and its inputs."""

    @property
    def taps(self) -> tuple[Meter, ...]:
        """The meters that read taps."""
        return tuple(m for m in self.meters if not isinstance(m, NetworkMeter))

    @property
    def whole(self) -> tuple[NetworkMeter, ...]:
        """The meters that read the network as a whole."""
        return tuple(m for m in self.meters if isinstance(m, NetworkMeter))

    @property
    def counts(self) -> dict[Meter, int] | None:
        """How many batches each meter of taps reads; None for all."""
        if self.setup.opening == self.setup:
            return None
        return {meter: meter.setup.batches for meter in self.taps}

    @property
    def backward(self) -> bool:
        """Whether the taps need a backward pass."""
        return MeterSet(self.taps).needs_gradients()

    @property
    def costs(self) -> tuple[str, ...]:
        """What is run, in the words of ``scoring.COSTS``."""
        costs = tuple(meter.cost for meter in self.whole)
        if self.backward and self.setup.loss == "logit":
            return (*costs, "per class")
        if self.backward:
            single = self.setup.single
            return (*costs, "per sample" if single else "forward and backward")
        return (*costs, "forward") if self.taps else costs

    @property
    def derivative(self) -> str:
        """What is differentiated, in words; ``"-"`` if nothing is."""
        differentiates = self.backward or bool(self.whole)
        return self.setup.loss.replace("_", " ") if differentiates else "-"

    @property
    def runs(self) -> str:
        """What is run, in words: ``"forward and backward"``."""
        times = "for every class, " if self.setup.loss == "logit" else ""
        words = []
        if self.taps:
            way = "forward and backward" if self.backward else "forward"
            words.append(f"{times}{way}")
        if self.whole:
            words.append("the network as a whole")
        return ", ".join(words)


@final
class EqualWeightsPass(_Shared):
    """Meters of networks whose weights all have one value, in float64.

    They are shown all images at once, the same for every seed.
    """

    costs = ("repeated forward",)
    derivative = "-"
    runs = "forward twice, in one channel"


Pass = TapPass | EqualWeightsPass


def make_passes(meters: Iterable[Meter]) -> tuple[Pass, ...]:
    """Returns a pass for all setups that open alike, in order of appearance.

    Networks of equal weights have a pass of their own. No meter comes twice.

    Raises:
      ValueError: two different meters of one name.
    """
    groups: dict[tuple[type[TapPass] | type[EqualWeightsPass], Setup], list[Meter]] = {}
    for meter in MeterSet.of(meters):
        equal = isinstance(meter, EqualWeightsMeter)
        kind = EqualWeightsPass if equal else TapPass
        groups.setdefault((kind, meter.setup.opening), []).append(meter)
    return tuple(
        kind(max((m.setup for m in group), key=lambda s: s.batches), tuple(group))
        for (kind, _), group in groups.items()
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


class BoundTaps(NamedTuple):
    """A pass over taps with the networks of a space at a fidelity."""

    spec: TapPass
    network: Network
    """For the taps."""
    plain: Network
    """For the meters of the whole network that ask for it."""
    loss: Callable[[Array, Array], Array]
    """Of the task, in place of cross-entropy."""

    def init(self, key: Array) -> Any:
        """Returns the parameters that a key draws."""
        return self.network.init(key)

    def prepare(self, inputs: PassInputs) -> PassInputs:
        """Returns what :meth:`read` needs, computed once for all architectures."""
        return inputs

    def scratch(self, inputs: PassInputs, code: Array) -> Any:
        """Returns cleared buffers, to be handed from architecture to architecture."""
        # Weights need no pass, and without buffers to hand on none is run.
        if all(getattr(meter, "phase", "") == "weight" for meter in self.spec.taps):
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

    def _model(
        self, meter: NetworkMeter, inputs: PassInputs, code: Array | None
    ) -> Model:
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


class BoundEqualWeights(NamedTuple):
    """A pass over equal weights with the networks of a space, one for each meter."""

    spec: EqualWeightsPass
    networks: tuple[EqualWeights, ...]

    def init(self, key: Array) -> Any:
        """Returns nothing: the weights are constants."""
        return ()

    def prepare(self, inputs: PassInputs) -> list[Array]:
        """Returns what no gene changes, computed once for all architectures."""
        return [
            meter.stems(network, inputs.batch.x) for meter, network in self._pairs()
        ]

    def scratch(self, inputs: PassInputs, code: Array) -> None:
        """Returns no buffers."""

    def read(
        self, stems: Sequence[Array], code: Array, scratch: None = None
    ) -> tuple[Readings, None]:
        """Returns the readings of one architecture, and no scratch."""
        values = {
            meter.name: meter.outputs(network, stem, code)[None]
            for (meter, network), stem in zip(self._pairs(), stems, strict=True)
        }
        return _one_slot(values), None

    def _pairs(self) -> Iterator[tuple[EqualWeightsMeter, EqualWeights]]:
        for meter, network in zip(self.spec.meters, self.networks, strict=True):
            assert isinstance(meter, EqualWeightsMeter)
            yield meter, network


BoundPass = BoundTaps | BoundEqualWeights


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
    prepared: Sequence[Any],
    code: Array | None,
    scratch: Sequence[Any] | None = None,
) -> tuple[Readings, list[Any]]:
    """Returns one architecture's readings of all passes, and scratch for the next.

    Args:
      passes: with the networks of a space.
      prepared: what each pass needs, of its ``prepare``.
      code: int32[G], or None for a network that is one architecture.
      scratch: what the last architecture left.
    """
    buffers = scratch or [None] * len(passes)
    results = [
        one.read(own, code, left)  # type: ignore[bad-argument-type]
        for one, own, left in zip(passes, prepared, buffers, strict=True)
    ]
    return join([readings for readings, _ in results]), [left for _, left in results]
