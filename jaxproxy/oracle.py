"""Comparison with the values of another implementation, weights and inputs given.

A folder in the oracle format holds ``oracle.json`` (values) and ``oracle.npz`` (weights
and inputs), and may hold ``oracle_full.json``, whose weights follow from seeds. Arrays
are in PyTorch's layout: NCHW images, OIHW kernels, (out, in) matrices.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxproxy.meters import ACTIVATIONS, PARAMETERS, Meter, Probe, covariance, gradient
from jaxproxy.network import Tap
from jaxproxy.proxies import epsinas, gamma, gradient_health, intrain
from jaxproxy.readings import Readings, collect, cross_entropy
from jaxproxy.spaces import Space, nasbench201
from jaxproxy.types import Array, Batch, Fidelity

__all__ = ["TOLERANCE", "Case", "compare", "load_cases"]

TOLERANCE = 1e-4
"""Largest relative difference that passes in float64."""

_PARAMS = {"all": "all", "w": "weights", "conv": "conv", "wb": "scales"}
"""The oracle's names of the groups in ``meters.PARAMETERS``."""
_ROWS = {"": "pixels", "A": "pixels", "U": "raw", "F": "images"}
_EPSINAS_PAIRS = {"f64": "stable", "f32": "paper"}


class Case(NamedTuple):
    """One architecture with its inputs and the values to compare with."""

    name: str
    arch: str
    fidelity: Fidelity
    batch: Batch
    weights: dict[str, np.ndarray]
    """Tensor name -> array in PyTorch's layout."""
    values: dict[str, Any]
    """The oracle's entry: blocks ``f32`` and ``f64``, ``n_params``..."""


def compare(folder: Path) -> dict[str, float]:
    """Largest relative difference per quantity over all cases of a folder.

    Networks run in float64. ``epsinas[paper]`` is infinite if a NaN is not where the
    oracle's float32 has one.

    Raises:
      ValueError: a folder without oracle, or files that cannot be read as one.
    """
    worst: dict[str, float] = {}
    with jax.enable_x64(True):
        measure: dict[Fidelity, Callable[..., Any]] = {}
        for case in load_cases(folder):
            space = nasbench201(num_classes=len(case.weights["classifier.bias"]))
            if case.fidelity not in measure:
                measure[case.fidelity] = _make_measure(space, case.fidelity)
            for name, difference in _differences(space, case, measure[case.fidelity]):
                worst[name] = max(worst.get(name, 0.0), difference)
    return worst


def load_cases(folder: Path) -> Iterator[Case]:
    """The cases of a folder, read lazily.

    Raises:
      ValueError: if there are none, or a file is malformed.
    """
    found = False
    for name, load in (("oracle.json", _given), ("oracle_full.json", _seeded)):
        path = Path(folder) / name
        if not path.is_file():
            continue
        found = True
        try:
            yield from load(path)
        except (KeyError, OSError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not an oracle: {error!r}") from error
    if not found:
        raise ValueError(f"{folder} has no oracle.json and no oracle_full.json")


def _given(path: Path) -> Iterator[Case]:
    data = json.loads(path.read_text())
    arrays = np.load(path.with_suffix(".npz"))
    meta = data["meta"]
    fidelity = Fidelity(meta["C"], meta["N"], meta["B"], meta["R"])
    batch = _batch(arrays["x"], arrays["y"])
    for i, values in enumerate(data["archs"]):
        prefix = f"a{i:02d}/"
        names = [n for n in arrays.files if n.startswith(prefix)]
        weights = {n.removeprefix(prefix): arrays[n] for n in names}
        yield Case(
            f"{path.stem}[{i}]", values["arch"], fidelity, batch, weights, values
        )


def _seeded(path: Path) -> Iterator[Case]:
    """Weights and inputs drawn again, in the order the format prescribes."""
    rng = np.random.default_rng(777)
    x, _ = (rng.standard_normal((16, 3, 32, 32)) for _ in range(2))
    batch = _batch(x, rng.integers(0, 10, 16))
    for i, values in enumerate(json.loads(path.read_text())["archs"]):
        rng = np.random.default_rng(1000 + i)
        weights = {n: _draw(rng, n, shape) for n, shape in values["param_order"]}
        fidelity = Fidelity(16, 5, 16, 32)
        yield Case(
            f"{path.stem}[{i}]", values["arch"], fidelity, batch, weights, values
        )


def _draw(rng: np.random.Generator, name: str, shape: list[int]) -> np.ndarray:
    if len(shape) > 1:
        scale = math.sqrt(2 / math.prod(shape[1:]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)
    return np.full(shape, float(name.endswith("bn.weight")), np.float32)


def _batch(x: np.ndarray, y: np.ndarray) -> Batch:
    images = jnp.asarray(np.asarray(x, np.float32).transpose(0, 2, 3, 1), jnp.float64)
    return Batch(images, jnp.asarray(y, jnp.int32))


def _make_measure(space: Space, fidelity: Fidelity) -> Callable[..., Any]:
    network = space.network(fidelity)
    meters = tuple(_meters().values())

    @jax.jit
    def measure(
        params: Any, batch: Batch, code: Array
    ) -> tuple[Array, Array, Readings]:
        logits = network.apply(params, batch.x, code, Tap(Probe(())))
        readings = collect(network, params, batch, code, meters)
        return logits, cross_entropy(logits, batch.y), readings

    return measure


def _meters() -> dict[str, Meter]:
    rows = set(_ROWS.values())
    activations = {
        f"{layers}/{row}": covariance(layers, rows=row)
        for layers in ACTIVATIONS
        for row in sorted(rows)
    }
    return activations | {params: gradient(params) for params in PARAMETERS}


def _differences(
    space: Space, case: Case, measure: Callable[..., Any]
) -> Iterator[tuple[str, float]]:
    code = space.from_str(case.arch)
    params = _parameters(space, case, code)
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
    for block, mode in _EPSINAS_PAIRS.items():
        if "epsinas" in case.values[block]:
            program = epsinas(mode=mode).program
            assert program is not None
            score = program(space, case.fidelity, case.batch)(jnp.asarray(code))
            yield f"epsinas[{mode}]", _relative(score, case.values[block]["epsinas"])


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
        proxy = intrain(layers=rest[0], params=_PARAMS[rest[1]])
        assert proxy.score is not None
        return proxy.score(readings)
    return None


def _relative(ours: Any, expected: Any) -> float:
    """Largest |ours - expected| over the largest |expected|; NaN must meet NaN."""
    a, b = np.asarray(ours, float), np.asarray(expected, float)
    if (np.isnan(a) != np.isnan(b)).any():
        return math.inf
    scale = np.nan_to_num(np.abs(b)).max(initial=0.0)
    difference = np.nan_to_num(np.abs(a - b)).max(initial=0.0)
    return float(difference / scale) if scale else float(difference)


def _parameters(space: Space, case: Case, code: np.ndarray) -> Any:
    """The oracle's tensors in the place of a network's parameters."""
    network = space.network(case.fidelity)
    variables = jax.eval_shape(network.init, jax.random.key(0))
    filled = jax.tree.map(lambda s: np.zeros(s.shape, np.float64), variables)
    for name, tensor in case.weights.items():
        leaf, index = _place(filled["params"], name, case.fidelity.cells, code)
        value = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
        leaf[index] = value
    return jax.tree.map(jnp.asarray, filled)


def _place(
    params: dict[str, Any], name: str, cells: int, code: np.ndarray
) -> tuple[np.ndarray, Any]:
    """The array that holds a tensor, and where in it."""
    edges = ("e01", "e02", "e12", "e03", "e13", "e23")
    parts, everything = name.split("."), ...
    vector = {"weight": "scale", "bias": "bias"}.get(parts[-1], "")
    if parts[0] == "classifier":
        return params["kernel" if parts[1] == "weight" else "bias"], everything
    if parts[0] == "lastact":
        return params["last"][vector], everything
    if parts[0] == "stem":
        block = params["stem"]
    else:
        stage, cell = divmod(int(parts[1]), cells + 1)
        if parts[2] in edges:
            edge = edges.index(parts[2])
            kernel = f"conv{1 if code[edge] == 2 else 3}"
            leaf = params["stages"][stage][kernel if parts[3] == "conv" else vector]
            return leaf, 6 * cell + edge
        block = params["reductions"][stage]
        if parts[2] == "down":
            return block["down"], everything
        block = block[parts[2]]
    return (block["kernel"] if parts[-2] == "conv" else block["bn"][vector]), everything
