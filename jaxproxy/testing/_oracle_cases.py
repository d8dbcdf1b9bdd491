"""Cases of another implementation, with weights and inputs, to compare with.

A folder in the oracle format holds ``oracle.json`` (values) and ``oracle.npz`` (weights
and inputs), and may hold ``oracle_full.json``, whose weights follow from seeds. Arrays
are in PyTorch's layout: NCHW images, OIHW kernels, (out, in) matrices.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxproxy.spaces import Mode, Space
from jaxproxy.types import Batch, Fidelity


class Case(NamedTuple):
    """One architecture with its inputs and the values to compare with."""

    name: str
    arch: str
    fidelity: Fidelity
    batch: Batch
    second: Batch
    """Another batch, for gradients over batches."""
    weights: dict[str, np.ndarray]
    """Tensor name -> array in PyTorch's layout."""
    values: dict[str, Any]
    """The oracle's entry: blocks ``f32`` and ``f64``, ``n_params``..."""


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
    second = _batch(arrays["x2"], arrays["y2"])
    for i, values in enumerate(data["archs"]):
        prefix = f"a{i:02d}/"
        names = [n for n in arrays.files if n.startswith(prefix)]
        weights = {n.removeprefix(prefix): arrays[n] for n in names}
        name = f"{path.stem}[{i}]"
        yield Case(name, values["arch"], fidelity, batch, second, weights, values)


def _seeded(path: Path) -> Iterator[Case]:
    """Weights and inputs drawn again, in the order the format prescribes."""
    rng = np.random.default_rng(777)
    x, x2 = (rng.standard_normal((16, 3, 32, 32)) for _ in range(2))
    batch, second = (_batch(images, rng.integers(0, 10, 16)) for images in (x, x2))
    for i, values in enumerate(json.loads(path.read_text())["archs"]):
        rng = np.random.default_rng(1000 + i)
        weights = {n: _draw(rng, n, shape) for n, shape in values["param_order"]}
        fidelity, name = Fidelity(16, 5, 16, 32), f"{path.stem}[{i}]"
        yield Case(name, values["arch"], fidelity, batch, second, weights, values)


def _draw(rng: np.random.Generator, name: str, shape: list[int]) -> np.ndarray:
    if len(shape) > 1:
        scale = math.sqrt(2 / math.prod(shape[1:]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)
    return np.full(shape, float(name.endswith("bn.weight")), np.float32)


def _batch(x: np.ndarray, y: np.ndarray) -> Batch:
    images = jnp.asarray(np.asarray(x, np.float32).transpose(0, 2, 3, 1), jnp.float64)
    return Batch(images, jnp.asarray(y, jnp.int32))


def parameters(space: Space, case: Case, code: np.ndarray) -> Any:
    """The oracle's tensors in the place of a network's parameters."""
    network = space.make_network(case.fidelity, Mode())
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
