"""The readings bank: proxies evaluated from a stored run, with no network (host)."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import Layout, Readings, Slot
from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.runs import Run, open_run, read_readings
from jaxproxy.startup import numerics

if TYPE_CHECKING:
    import pyarrow as pa


Function = Callable[[Readings], Array]

_CHUNK_BYTES = 2**26  # readings evaluated at once; a function may need several times it


def rescore(
    run: Run | str | os.PathLike[str],
    proxies: Sequence[Proxy | str] | Mapping[str, Function],
) -> "pa.Table":
    """Scores of proxies, variants or functions from the readings that a run kept.

    Reads only the meters that are used, part after part, so memory does not grow with
    the number of architectures.

    Args:
      run: a run folder, or the run.
      proxies: names, variants or proxies whose meters the run has taken; or column name
        -> pure function of the readings of one architecture to a float[], written with
        ``jax.numpy`` and mapped over all of them.

    Returns:
      Columns ``index`` and ``arch`` of the run, and the mean over seeds of each proxy,
      float64, NaN where it is not finite.

    Raises:
      ValueError: a meter that the run has not taken, naming those it has; a proxy that
        is no function of readings; a function whose result is not a single number.
      StoreError: the run cannot be read, or has no readings.
    """
    import pyarrow as pa

    run = run if isinstance(run, Run) else open_run(run)
    rows = run.table(["index", "arch"])
    columns = {"index": rows["index"], "arch": rows["arch"]}
    scores = evaluate(run, proxies)
    return pa.table(columns | {name: pa.array(v) for name, v in scores.items()})


def evaluate(
    run: Run, proxies: Sequence[Proxy | str] | Mapping[str, Function]
) -> dict[str, np.ndarray]:
    """The columns of :func:`rescore` as float64[N]."""
    with numerics(run.manifest["scorer"]["fidelity"].get("precision", "float32")):
        functions, meters = _functions(run, proxies)
        archs, scores = _evaluate(run, functions, meters)
    unique, class_of_row = np.unique(archs, return_inverse=True)
    place = np.searchsorted(unique, _strings(run.table(["class_arch"])))
    columns = {}
    for name, values in scores.items():
        means = np.bincount(class_of_row, values) / np.bincount(class_of_row)
        columns[name] = np.where(np.isfinite(means), means, np.nan)[place]
    return columns


def stored_readings(run: Run) -> tuple[np.ndarray, Readings]:
    """Architecture strings object[n] and readings of n architectures x seeds.

    The leading axis of every array is n.

    Raises:
      StoreError: a run without readings.
    """
    table = run.readings()
    return _strings(table), jax.tree.map(jnp.asarray, _readings(run, table))


def _functions(
    run: Run, proxies: Sequence[Proxy | str] | Mapping[str, Function]
) -> tuple[dict[str, Function], set[str]]:
    """Functions by column, and the meters that they read."""
    sample = _readings(run, next(run.readings_parts()).slice(0, 1))
    if isinstance(proxies, Mapping):
        used = (_used(run, sample, *item) for item in proxies.items())
        return dict(proxies), set().union(*used)
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    functions = {proxy.name: _checked(run, sample, proxy) for proxy in chosen}
    return functions, {meter.name for proxy in chosen for meter in proxy.meters}


def _checked(run: Run, sample: Readings, proxy: Proxy) -> Function:
    """The proxy's score, if the run has all it needs."""
    if proxy.score is None:
        raise ValueError(f"proxy {proxy.name!r} is no function of readings")
    missing = [m.name for m in proxy.meters if m.name not in sample.values]
    if missing:
        raise ValueError(
            f"proxy {proxy.name!r} needs the meters {missing}; {run.path} has "
            f"{sorted(sample.values)}"
        )
    return proxy.score


class _Watched(Mapping[str, Any]):
    """A mapping that notes in ``used`` what is taken out of it."""

    def __init__(self, items: Mapping[str, Any], used: set[str]) -> None:
        self.items_, self.used = items, used

    def __getitem__(self, name: str) -> Any:
        item = self.items_[name]
        self.used.add(name)
        return item

    def __iter__(self) -> Iterator[str]:
        self.used.update(self.items_)
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


def _used(run: Run, sample: Readings, name: str, function: Function) -> set[str]:
    """Meters that a function reads, found by tracing it on readings [1, L, ...]."""
    used: set[str] = set()

    def trace(readings: Readings) -> Array:
        values, mask = (
            _Watched({k: v[0] for k, v in table.items()}, used)
            for table in (readings.values, readings.mask)
        )
        return function(Readings(cast(Any, values), cast(Any, mask), readings.layout))

    try:
        shape = jax.eval_shape(trace, sample).shape
    except (KeyError, ValueError) as error:
        message = f"cannot evaluate {name!r} from {run.path}: {error}"
        raise ValueError(message) from error
    if shape:
        raise ValueError(f"{name!r} gives {list(shape)} numbers, not one, per arch")
    return used


def _evaluate(
    run: Run, functions: Mapping[str, Function], meters: set[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Architecture strings object[n], and float64[n] by column, over seeds as well."""
    evaluate = jax.jit(jax.vmap(lambda r: {k: f(r) for k, f in functions.items()}))
    columns = ["class_arch", *(c for m in sorted(meters) for c in (m, f"{m}_present"))]
    archs, scores, size = [], [], 0
    for table in run.readings_parts(columns):
        archs.append(_strings(table))
        readings = _readings(run, table, meters)
        size = size or _chunk_size(readings, len(table))
        for start in range(0, len(table), size):
            # One shape, so one compiled program: the last rows are repeated.
            rows = np.minimum(np.arange(start, start + size), len(table) - 1)
            chunk = jax.tree.map(lambda array, rows=rows: array[rows], readings)
            found = jax.device_get(evaluate(chunk))
            kept = len(table) - start
            scores.append({k: np.asarray(v[:kept], float) for k, v in found.items()})
    joined = {name: np.concatenate([s[name] for s in scores]) for name in functions}
    return np.concatenate(archs), joined


def _chunk_size(readings: Readings, num_rows: int) -> int:
    arrays = jax.tree.leaves(readings)
    row_bytes = sum(array.nbytes for array in arrays) / num_rows
    return int(max(1, min(num_rows, _CHUNK_BYTES // max(row_bytes, 1))))


def _strings(table: "pa.Table") -> np.ndarray:
    # Not to_numpy(), here and below: it would import pandas, which takes a second.
    return np.array(table["class_arch"].to_pylist(), object)


def _readings(run: Run, table: "pa.Table", meters: set[str] | None = None) -> Readings:
    """Returns readings in numpy of the rows of a table; of all meters, or of some.

    The layout is always that of all meters.
    """
    try:
        stored = read_readings(table, meters)
    except ValueError as error:
        raise ValueError(f"cannot use the readings of {run.path}: {error}") from error
    slots = {k: tuple(Slot(**s) for s in rows) for k, rows in stored.slots.items()}
    layout = Layout(tuple(slots.items()))
    return Readings(cast(Any, stored.values), cast(Any, stored.mask), layout)
