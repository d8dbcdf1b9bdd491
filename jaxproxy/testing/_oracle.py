"""Comparison with the values of another implementation, weights and inputs given.

The cases are read by ``oracle_cases``.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import (
    Meter,
    MeterSet,
    PassInputs,
    Readings,
    Setup,
    Tap,
    collect,
    cross_entropy,
    make_batches,
    make_passes,
    read_passes,
)
from jaxproxy.meters import ACTIVATIONS, PARAMETERS, covariance, gradient
from jaxproxy.proxies import (
    gamma,
    grad_norm,
    gradient_health,
    naswot,
    parse_proxy,
    snip,
    synflow,
    zico,
)
from jaxproxy.scoring import bind_pass
from jaxproxy.spaces import Mode, Space, nasbench201
from jaxproxy.testing._oracle_cases import Case, load_cases, parameters
from jaxproxy.types import Batch, Fidelity

TOLERANCE = 1e-4
"""Largest relative difference that passes in float64."""

_PARAMS = {"all": "all", "w": "weights", "conv": "conv", "wb": "scales"}
"""The oracle's names of the groups in ``meters.PARAMETERS``."""
_ROWS: dict[str, Any] = {"": "pixels", "A": "pixels", "U": "raw", "F": "images"}
_EPSINAS_PAIRS = {"f64": "stable", "f32": "paper"}
_SCORES = {
    "grad_norm": grad_norm(inputs="images"),
    "snip": snip(inputs="images"),
    "naswot": naswot(inputs="images"),
    "zico": zico(inputs="images"),
    "synflow": synflow(),
}
"""Proxies by the oracle's names; of SynFlow it has the sum, not the logarithm."""


def compare(folder: Path) -> dict[str, float]:
    """Largest relative difference per quantity over all cases of a folder.

    Networks run in float64. ``epsinas[paper]`` is infinite if a NaN is not where the
    oracle's float32 has one.

    Raises:
      ValueError: a folder without oracle, or files that cannot be read as one.
    """
    worst: dict[str, float] = {}
    with jax.enable_x64(True):
        made: dict[Fidelity, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        for case in load_cases(folder):
            space = nasbench201(num_classes=len(case.weights["classifier.bias"]))
            if case.fidelity not in made:
                measure = _make_measure(space, case.fidelity)
                made[case.fidelity] = measure, _make_scores(space, case.fidelity)
            for name, difference in _differences(space, case, *made[case.fidelity]):
                worst[name] = max(worst.get(name, 0.0), difference)
    return worst


def _make_measure(space: Space, fidelity: Fidelity) -> Callable[..., Any]:
    network = space.make_network(fidelity, Mode())
    meters = tuple(_meters().values())

    @jax.jit
    def measure(
        params: Any, batch: Batch, code: Array
    ) -> tuple[Array, Array, Readings]:
        logits = network.apply(params, batch.x, code, Tap(MeterSet(())))
        readings = collect(network, params, batch, code, meters)
        return logits, cross_entropy(logits, batch.y), readings

    return measure


def _make_scores(space: Space, fidelity: Fidelity) -> Callable[..., Any]:
    """(parameters, both batches, code) -> score by name in :data:`_SCORES`."""
    passes = make_passes(m for proxy in _SCORES.values() for m in proxy.meters)
    bound = [bind_pass(space, fidelity, one) for one in passes]

    def prepare(setup: Setup, params: Any, images: Batch) -> PassInputs:
        if setup.weights == "abs":
            params = jax.tree.map(jnp.abs, params)
        key = jax.random.key(0)  # all inputs are given, so nothing is drawn
        classes = space.task.num_outputs
        batches = make_batches(key, setup, fidelity, classes, images)
        x = batches.x.astype(images.x.dtype)
        return PassInputs(params, Batch(x, batches.y), key)

    @jax.jit
    def scores(params: Any, images: Batch, code: Array) -> dict[str, Array]:
        inputs = [prepare(one.spec.setup, params, images) for one in bound]
        readings, _ = read_passes(bound, inputs, code)
        return {n: proxy.score(readings) for n, proxy in _SCORES.items() if proxy.score}

    return scores


def _meters() -> dict[str, Meter]:
    meters: dict[str, Meter] = {}
    # Names of tables, which a type checker cannot tell from other texts.
    groups, tensors = cast(Any, ACTIVATIONS), cast(Any, PARAMETERS)
    for layers, row in itertools.product(groups, sorted(set(_ROWS.values()))):
        meters[f"{layers}/{row}"] = covariance(layers, rows=row)
    for params in tensors:
        meters[params] = gradient(params)
    return meters


def _differences(
    space: Space,
    case: Case,
    measure: Callable[..., Any],
    scores: Callable[..., Any],
) -> Iterator[tuple[str, float]]:
    code = space.from_str(case.arch)
    params = parameters(space, case, code)
    logits, loss, readings = measure(params, case.batch, jnp.asarray(code))
    expected = case.values["f64"]
    yield "loss", _relative(loss, expected["loss"])
    if "logits" in expected:
        yield "logits", _relative(logits, expected["logits"])
    yield (
        "params",
        _relative(space.num_params(code), _trained_params(space, case, code)),
    )
    for name, value in expected["variants"].items():
        ours = _variant(name, readings)
        if ours is not None:
            yield name.split("_")[0], _relative(ours, value)
    both = jax.tree.map(lambda *v: jnp.concatenate(v), case.batch, case.second)
    for name, score in scores(params, both, jnp.asarray(code)).items():
        ours = jnp.exp(score) if name == "synflow" else score
        yield name, _relative(ours, expected[name])
    for block, mode in _EPSINAS_PAIRS.items():
        if "epsinas" in case.values[block]:
            score = _epsinas(space, case, mode, jnp.asarray(code))
            yield f"epsinas[{mode}]", _relative(score, case.values[block]["epsinas"])


def _epsinas(space: Space, case: Case, mode: str, code: Array) -> Array:
    """Returns the score of one architecture on the images of a case."""
    proxy = parse_proxy(f"epsinas(mode={mode})")
    (spec,) = make_passes(proxy.meters)
    bound = bind_pass(space, case.fidelity, spec)
    images = jax.tree.map(lambda leaf: leaf[None], case.batch)
    prepared = [bound.prepare(PassInputs((), images, jax.random.key(0)))]
    readings, _ = read_passes([bound], prepared, code)
    assert proxy.score is not None
    return proxy.score(readings)


def _trained_params(space: Space, case: Case, code: np.ndarray) -> int:
    """Our count of the full-size network, corrected by what the oracle's size has."""
    ours = sum(math.prod(w.shape) for w in case.weights.values())
    return int(space.num_params(code)) + case.values["n_params"] - ours


def _variant(name: str, readings: Readings) -> Array | None:
    """Our value of an oracle's variant, such as ``gammaA_conv`` or ``I_relu_w``."""
    meters = _meters()
    quantity, *rest = name.split("_")
    if quantity.startswith("gamma") and quantity[5:] in _ROWS:
        meter = meters[f"{rest[0]}/{_ROWS[quantity[5:]]}"]
        return gamma(readings, meter, dead="live" if "A" in quantity else "paper")[0]
    if quantity in ("L", "LA"):
        meter = meters[f"{rest[0]}/pixels"]
        return gamma(readings, meter, dead="live" if quantity == "LA" else "paper")[1]
    if quantity in ("o", "n"):
        meter = meters[_PARAMS[rest[0]]]
        health = gradient_health(readings, meter)
        return health.sum() if quantity == "o" else readings.count(meter)
    if quantity == "I":
        proxy = parse_proxy(f"intrain(layers={rest[0]},params={_PARAMS[rest[1]]})")
        assert proxy.score is not None
        return proxy.score(readings)
    return None


def _relative(ours: Any, expected: Any) -> float:
    """Returns the largest |ours - expected| over the largest |expected|.

    A null of the oracle, NaN here, means *not finite*: NaN or infinity meets it, and
    nothing else does. An infinity must meet the same one.
    """
    a, b = np.asarray(ours, float), np.asarray(expected, float)
    wrong = np.where(np.isnan(b), np.isfinite(a), np.isinf(b) & (a != b))
    if (wrong | (np.isfinite(b) & ~np.isfinite(a))).any():
        return math.inf
    finite = np.isfinite(b)
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    scale, difference = np.abs(b).max(initial=0.0), np.abs(a - b).max(initial=0.0)
    return float(difference / scale) if scale else float(difference)
