"""The readings bank: proxies evaluated from a stored run, with no network (host)."""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.readings import Layout, Readings
from jaxproxy.store import Run
from jaxproxy.taps import Slot

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["rescore", "stored_readings"]


def rescore(
    run: Run | str | os.PathLike[str], proxies: Sequence[Proxy | str]
) -> "pa.Table":
    """Scores of proxies or variants from the readings that a run kept.

    Args:
      run: a run folder, or the run.
      proxies: names, variants or proxies whose meters the run has taken.

    Returns:
      Columns ``index`` and ``arch`` of the run, and the mean over seeds of each proxy,
      float64, NaN where it is not finite.

    Raises:
      ValueError: a meter that the run has not taken, naming those it has, or a proxy
        that is no function of readings.
    """
    import pyarrow as pa

    run = run if isinstance(run, Run) else Run.open(run)
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    classes, readings = stored_readings(run)
    for proxy in chosen:
        if proxy.score is None:
            raise ValueError(f"proxy {proxy.name!r} is no function of readings")
        missing = [m.name for m in proxy.meters if m.name not in readings.values]
        if missing:
            raise ValueError(
                f"proxy {proxy.name!r} needs the meters {missing}; {run.path} has "
                f"{sorted(readings.values)}"
            )

    def score(one: Readings) -> list[jax.Array]:
        return [proxy.score(one) for proxy in chosen if proxy.score]

    scores = jax.device_get(jax.jit(jax.vmap(score))(readings))
    rows = run.table(["index", "arch", "class_arch"])
    unique, class_of_row = np.unique(classes, return_inverse=True)
    place = np.searchsorted(unique, rows["class_arch"].to_numpy(zero_copy_only=False))
    columns = {"index": rows["index"], "arch": rows["arch"]}
    for proxy, values in zip(chosen, scores, strict=True):
        total = np.bincount(class_of_row, weights=np.asarray(values, float))
        means = total / np.bincount(class_of_row)
        columns[proxy.name] = pa.array(
            np.where(np.isfinite(means), means, np.nan)[place]
        )
    return pa.table(columns)


def stored_readings(run: Run) -> tuple[np.ndarray, Readings]:
    """Architecture strings object[n] and readings of n architectures x seeds.

    The leading axis of every array is n; slots know their names only.

    Raises:
      ValueError: a run without readings.
    """
    table = run.readings()
    described = (table.schema.metadata or {}).get(b"jaxproxy_meters")
    if described is None:
        raise ValueError(f"{run.path} has no readings")
    values, mask, items = {}, {}, []
    for name, meter in json.loads(described).items():
        slots, shape = meter["slots"], meter["shape"]
        values[name] = jnp.asarray(_flat(table, name).reshape(len(table), *shape))
        present = _flat(table, f"{name}_present").reshape(len(table), len(slots))
        mask[name] = jnp.asarray(present)
        items.append((name, tuple(Slot(s, "", i, 0) for i, s in enumerate(slots))))
    classes = table["class_arch"].to_numpy(zero_copy_only=False)
    return classes, Readings(values, mask, Layout(tuple(items)))


def _flat(table: "pa.Table", column: str) -> np.ndarray:
    chunks = table[column].combine_chunks()
    return chunks.flatten().to_numpy(zero_copy_only=False)
