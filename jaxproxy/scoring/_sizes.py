"""What a request needs, by its sizes alone: refused before anything is traced."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from jaxproxy.limits import LARGEST_ARRAY, in_bytes, memory
from jaxproxy.measure import Setup
from jaxproxy.proxies import Proxy
from jaxproxy.spaces import Space
from jaxproxy.types import Fidelity

_FLOAT = 4  # bytes
_SEED = 100  # bytes of a seed and of its place in a manifest
# A program grows with every cell, and so does the time to trace it: that of a thousand
# cells takes minutes.
_MOST_CELLS = 1000


def check_sizes(
    space: Space,
    proxies: Sequence[Proxy],
    fidelity: Fidelity,
    *,
    num_seeds: int,
    devices: Sequence[jax.Device],
) -> None:
    """Raises ValueError for a request that cannot fit, naming what would.

    The estimate is what every network of the space needs at the least: inputs and
    weights of all seeds, and the largest activation with its derivative. What passes
    may still be too large.

    Args:
      space: whose networks are scored.
      proxies: what is computed; exact counts need nothing.
      fidelity: size of network and batch.
      num_seeds: draws of weights and inputs, which are all kept.
      devices: each has its own copy.
    """
    setups = list(dict.fromkeys(m.setup for p in proxies for m in p.meters))
    sizes: dict[str, int] = {name: getattr(fidelity, name) for name in _SIZES}
    sizes |= {"num_classes": space.task.num_outputs, "seeds": num_seeds}
    sizes["batches"] = max((setup.batches for setup in setups), default=1)
    own = [setup.batch_size for setup in setups if setup.batch_size is not None]
    if own:
        sizes["images"] = max(own)
    most, copies = _memory_of(devices)

    def problem(sizes: Mapping[str, int]) -> str:
        return _problem(space, setups, sizes, copies, most)

    if why := problem(sizes):
        raise ValueError(f"{why}; {_advice(space, sizes, problem)}")


def _problem(
    space: Space, setups: Sequence[Setup], sizes: Mapping[str, int], copies: int,
    most: int,
) -> str:  # fmt: skip
    """Returns why sizes do not fit, or an empty text."""
    arrays = list(_arrays(space, setups, sizes))
    name, largest = max(arrays, key=lambda array: array[1], default=("", 0))
    if largest > LARGEST_ARRAY:
        return (
            f"{name} of {space.name} are {largest} numbers in one array, of which an "
            f"int32 counts {LARGEST_ARRAY}"
        )
    kept = sum(size for name, size in arrays if name != _ACTIVATIONS)
    working = sum(2 * size for name, size in arrays if name == _ACTIVATIONS)
    need = _FLOAT * copies * (sizes["seeds"] * kept + working) + _SEED * sizes["seeds"]
    if need > most:
        return (
            f"scores of {space.name} need at least {in_bytes(need)} of memory, and "
            f"there are {in_bytes(most)}"
        )
    if setups and sizes["cells"] > _MOST_CELLS:
        return f"a program of {sizes['cells']} cells a stage takes hours to compile"
    return ""


_SIZES = ("width", "cells", "batch_size", "resolution")
_ACTIVATIONS = "activations"


def _arrays(
    space: Space, setups: Sequence[Setup], sizes: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Yields what every network needs, name -> numbers."""
    if not setups:
        return
    fidelity = Fidelity(
        sizes["width"], sizes["cells"], sizes["batch_size"], sizes["resolution"]
    )
    outputs, widest = sizes["num_classes"], 0
    for setup in setups:
        count = min(setup.batches, sizes["batches"])
        count *= outputs if setup.loss == "logit" else 1
        size = fidelity.batch_size
        if setup.batch_size is not None:
            size = min(setup.batch_size, sizes["images"])
        if setup.inputs in ("gaussian", "perturbed"):
            yield "inputs", count * size * space.task.numbers(fidelity)
        widest = max(widest, 1 if setup.single else size)
    if space.sizes is not None:
        yield "weights", space.sizes.weights(fidelity, outputs)
        yield _ACTIVATIONS, widest * space.sizes.activations(fidelity, outputs)


def _advice(
    space: Space, sizes: Mapping[str, int], problem: Callable[[Mapping[str, int]], str]
) -> str:
    """Returns which size is the culprit and what would fit in its place."""
    usual: dict[str, Any] = dataclasses.asdict(space.presets["paper"])
    usual |= {"num_classes": 1000, "seeds": 1, "batches": 8, "images": 64}
    by_excess = sorted(sizes, key=lambda name: sizes[name] / usual[name], reverse=True)
    for name in by_excess:
        low, high = 0, sizes[name]  # low fits, high does not
        while high - low > 1:
            middle = (low + high) // 2
            if problem({**sizes, name: middle}):
                high = middle
            else:
                low = middle
        if low:
            return f"{name} is {sizes[name]}, and at most {low} would fit"
    return f"{by_excess[0]} is {sizes[by_excess[0]]}, and others are too large as well"


def _memory_of(devices: Sequence[jax.Device]) -> tuple[int, int]:
    """Returns the bytes of memory there are, and how many devices share them."""
    if devices[0].platform == "cpu":
        return memory(), len(devices)
    stats = devices[0].memory_stats() or {}
    return stats.get("bytes_limit", memory()), 1
