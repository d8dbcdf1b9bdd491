"""The MobileNetV2 space on devices: counts, random architectures, ZenNAS' mutation."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxproxy.spaces._mobilenetv2._codes import (
    CHOICES,
    GENES,
    STEM,
    STEP,
    STRIDES,
    SUB_LAYERS,
    WIDEST,
    macs_in,
    params_in,
)
from jaxproxy.spaces._records import DeviceFunctions

SWEEPS = 16
"""Proposals for each gene, after which a random architecture forgot its start."""
MOST = 2**31 - 1
"""What a device counts to; more is as much."""

_FACTORS = 2.5, 2.0, 1.5, 1.25
_LONG, _SPLIT = 6, 3
"""From how many sub-layers a stage is split, and how many each half has then."""


def make_device_functions(
    budgets: Mapping[str, int], *, resolution: int, num_classes: int
) -> DeviceFunctions:
    """Returns what devices count and draw themselves.

    Args:
      budgets: ``"max_params"``, ``"max_macs"`` -> most that is allowed.
      resolution: of the images.
      num_classes: outputs.
    """
    params = _up_to_most(partial(_params, num_classes))
    macs = _up_to_most(partial(_macs, resolution, num_classes))
    # A limit that is no less than what is counted to cannot be checked.
    checkable = all(most < MOST for most in budgets.values())
    if not budgets or not checkable:
        return DeviceFunctions(params, macs, mutation=mobilenetv2_mutation)
    counts = {"max_params": params, "max_macs": macs}

    def valid(code: Array) -> Array:
        kept = [counts[name](code) <= most for name, most in budgets.items()]
        return jnp.stack(kept).all()

    sampler = partial(_walk, valid)
    return DeviceFunctions(params, macs, valid, sampler, mobilenetv2_mutation)


def _params(num_classes: int, dtype: Any, code: Array) -> Array:
    return params_in(dtype, code, num_classes)


def _macs(resolution: int, num_classes: int, dtype: Any, code: Array) -> Array:
    return macs_in(dtype, code, resolution, num_classes)


def _up_to_most(count: Callable[[Any, Array], Array]) -> Callable[[Array], Array]:
    """Returns an exact count int32[] of a code, 2**31 - 1 if it is more.

    Sums of int32 wrap around, so that the count is right modulo 2**32; in float32 it is
    right but for a 100,000th. If that says less than 1.5 * 2**31, it is less than
    2**32, and has wrapped around to a negative number if it is 2**31 or more.
    """

    def counted(code: Array) -> Array:
        exact, about = count(jnp.int32, code), count(jnp.float32, code)
        return jnp.where((exact >= 0) & (about < 1.5 * 2**31), exact, MOST)

    return counted


def _walk(valid: Callable[[Array], Array], key: Array) -> Array:
    """Returns a random architecture int32[32], as the walk on the host does."""
    choices = jnp.array(CHOICES, jnp.int32)
    num = SWEEPS * len(CHOICES)
    gene_key, value_key = jax.random.split(key)
    genes = jax.random.randint(gene_key, (num,), 0, len(CHOICES))
    values = jax.random.randint(value_key, (num,), 0, choices[genes])

    def step(number: Array, code: Array) -> Array:
        proposed = code.at[genes[number]].set(values[number])
        return jnp.where(valid(proposed), proposed, code)

    return lax.fori_loop(0, num, step, jnp.zeros(len(CHOICES), jnp.int32))


def _widths(num: int) -> list[list[int]]:
    """Returns, for each width of ``num``, those it may change to; indices."""
    rows = []
    for width in range(STEP, STEP * num + 1, STEP):
        scaled = [width, *(w for f in _FACTORS for w in (width * f, width / f))]
        # As Python rounds: a half to even.
        places = {min(max(round(w / STEP), 1), num) - 1 for w in scaled}
        rows.append(sorted(places))
    return rows


def _table(widest: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the widths that follow each, int32[n, W, C], and how many, int32[n, W].

    Rows are as long as the longest, and the widths of a row come first in it.
    """
    most = max(widest) // STEP
    followers = np.zeros((len(widest), most, 1 + 2 * len(_FACTORS)), np.int32)
    number = np.ones(followers.shape[:2], np.int32)
    for stage, width in enumerate(widest):
        for place, row in enumerate(_widths(width // STEP)):
            followers[stage, place, : len(row)] = row
            number[stage, place] = len(row)
    return followers, number


_STEM = _table((STEM,))
_STAGES = _table(WIDEST)
_SPLITS = np.array([*(s == 1 for s in STRIDES[1:]), False])
"""Whether the next stage has stride 1, and may be the second half of a stage."""
_STRIDES = np.array(STRIDES)


def mobilenetv2_mutation(key: Array, code: Array) -> Array:
    """Returns a code int32[32] with a block changed as ZenNAS changes one.

    A block is a stage that is present, the first layer or the last, each equally
    likely. Of the first, the width is drawn, and the last never changes. Of a stage,
    all is drawn: kernel and expansion from all, both widths from their multiples by
    2.5, 2, 1.5, 1.25, 1 and the inverses, rounded to multiples of 8, and sub-layers
    from those that are at most two more or fewer. All that are different are equally
    likely, and may be what there was.

    Widths and depths beyond those of the space are cut to it. A stage of 6 sub-layers
    or more becomes one of 3 and one of stride 1 with 3, as with the authors, if the
    space has that and it is absent. The authors' lists repeat kernels and expansions,
    which makes small ones up to six times as likely as large ones; here, they are not.

    Args:
      key: of the draw.
      code: int32[32].

    References:
      Lin et al., "Zen-NAS", ICCV 2021, arXiv:2102.01063: its code, which ZiCo and
      AZ-NAS share.
    """
    u = jax.random.uniform(key, (6,))
    stages = code[1:-1].reshape(len(STRIDES), GENES)
    present = (stages[:, -1] > 0) | (_STRIDES > 1)
    block = _draw(u[0], present.sum(dtype=jnp.int32) + 2)
    # The block-th of those that are present; the first layer is block 0.
    stage = (present.cumsum(dtype=jnp.int32) < block).sum()
    is_stage = (block > 0) & (stage < len(STRIDES))
    stage = jnp.minimum(stage, len(STRIDES) - 1)
    # Out of range, nothing is written.
    row = jnp.where(is_stage, stage, len(STRIDES))
    changed, second = _changed(u[1:], stages, stage)
    stages = stages.at[row].set(changed, mode="drop")
    stages = stages.at[row + 1].set(
        jnp.where(is_stage & second.any(), second, stages[row + 1]), mode="drop"
    )
    stem = jnp.where(block == 0, _follower(u[1], _STEM, 0, code[0]), code[0])
    return jnp.concatenate([stem[None], stages.reshape(-1), code[-1:]])


def _draw(u: Array, number: Array) -> Array:
    """Returns one of a number, int32[], by a uniform float[]."""
    drawn = (u * number.astype(u.dtype)).astype(jnp.int32)
    return jnp.minimum(drawn, number - 1)


def _follower(
    u: Array, table: tuple[np.ndarray, np.ndarray], stage: Array | int, width: Array
) -> Array:
    """Returns a width that follows another, as indices."""
    followers, number = (jnp.asarray(part)[stage, width] for part in table)
    return followers[_draw(u, number)]


def _changed(u: Array, stages: Array, stage: Array) -> tuple[Array, Array]:
    """Returns a stage's new genes int32[5], and those of its second half, 0 if none."""
    _, _, out, middle, depth = stages[stage]
    # In genes, a stage of stride 2 with one sub-layer has 0.
    least = (jnp.asarray(_STRIDES)[stage] > 1).astype(jnp.int32)
    depth = depth + least
    follows = jnp.minimum(stage + 1, len(STRIDES) - 1)
    splits = jnp.asarray(_SPLITS)[stage] & (stages[follows, -1] == 0)
    low = jnp.maximum(depth - 2, 1)
    high = jnp.minimum(depth + 2, jnp.where(splits, depth + 2, SUB_LAYERS))
    depth = low + _draw(u[4], high - low + 1)
    halved = depth >= _LONG
    depth = jnp.where(halved, _SPLIT, depth)
    kind = _draw(u[0], jnp.array(CHOICES[1] * CHOICES[2], jnp.int32))
    genes = [
        kind // CHOICES[2],
        kind % CHOICES[2],
        _follower(u[1], _STAGES, stage, out),
        _follower(u[2], _STAGES, stage, middle),
    ]
    changed = jnp.stack([*genes, depth - least])
    second = jnp.stack([*genes, jnp.array(_SPLIT, jnp.int32)])
    return changed, jnp.where(halved, second, 0)
