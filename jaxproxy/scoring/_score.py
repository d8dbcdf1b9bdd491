"""How to get scores: arguments checked, defaults chosen, a :class:`Scorer` made."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxproxy.measure import EqualWeightsMeter
from jaxproxy.options import check_choices, check_counts
from jaxproxy.proxies import Proxy, grey_images, parse_proxy
from jaxproxy.scoring._devices import Devices, check_precision
from jaxproxy.scoring._images import as_labels, check_layout
from jaxproxy.scoring._lanes import Execution, make_lanes
from jaxproxy.scoring._program import Blocks
from jaxproxy.scoring._scorer import Scorer, check_seeds
from jaxproxy.scoring._sizes import check_sizes
from jaxproxy.spaces import Space
from jaxproxy.startup import known_platforms
from jaxproxy.types import Batch, Fidelity


def make_scorer(
    space: Space,
    proxies: Sequence[Proxy | str],
    *,
    fidelity: Fidelity | str = "paper",
    seeds: int | Sequence[int] = 1,
    images: np.ndarray | Array | None = None,
    labels: np.ndarray | Array | None = None,
    **execution: Unpack[Execution],
) -> Scorer:
    """Returns a scorer of a space's architectures; nothing is compiled yet.

    Args:
      space: for instance ``spaces.nasbench201()``.
      proxies: proxies, or names and variants such as ``"intrain(layers=relu)"``.
      fidelity: size of network and batch, or the name of a preset.
      seeds: how many (0, 1...), or which; each draws its own weights and inputs.
      images: float[N, R, R, 3] for the proxies that take images; epsinas takes grey
        ones by default.
      labels: integer[N] or [N, 1], or one-hot [N, classes], the classes of the images,
        for proxies with a loss; 0 by default.
      **execution: how, which changes no score but for its last digits:

        * ``devices``: how many local devices, or which; all of them by default.
        * ``block_size``: codes per compiled call, rounded up to a multiple of devices
          and lanes; by default so that a block takes about a second.
        * ``lanes``: architectures side by side on a device, 1 by default. ``"auto"`` is
          1 on CPU and elsewhere the largest power of two that fits into its memory.
        * ``memory``: bytes of a device for ``"auto"``, if it does not say them itself.

    Raises:
      ValueError: an argument that cannot be used, with the choices.
    """
    chosen = _proxies(proxies)
    fidelity = _fidelity(space, fidelity)
    numbers = check_seeds(seeds)
    blocks = _blocks(fidelity, **execution)
    used = blocks.devices.all
    check_sizes(space, chosen, fidelity, num_seeds=len(numbers), devices=used)
    needy = [proxy.name for proxy in chosen if _needs_images(proxy)]
    if images is not None and needy:
        _check_side(space, fidelity, images)
    if images is None and needy:
        raise ValueError(f"{needy[0]} is scored on images; none were given")
    given = _checked_images(images, labels, space.task.num_outputs)
    source = "grey images, 64 of 32x32"
    if images is not None:
        source = _digest(given, labels is not None)
    return Scorer(
        space,
        chosen,
        fidelity=fidelity,
        seeds=numbers,
        images=given,
        image_source=source,
        blocks=blocks,
    )


def score(
    space: Space,
    archs: Sequence[str] | np.ndarray | None = None,
    proxies: Sequence[Proxy | str] = ("intrain",),
    **options: Any,
) -> dict[str, np.ndarray]:
    """Returns scores, proxy name -> float64[N], averaged over seeds.

    Args:
      space: where the architectures come from.
      archs: N strings, or codes int[N, G]; by default all, if they can be enumerated.
      proxies: as in :func:`make_scorer`, which also takes the ``options``.
      **options: see :func:`make_scorer`.

    Raises:
      ValueError: no architectures, wrong ones, or as :func:`make_scorer`.
    """
    if archs is None:
        if space.enumerate is None:
            raise ValueError(f"{space.name} is too large to score as a whole")
        archs = space.enumerate()
    if not len(archs):
        raise ValueError("give at least one architecture to score")
    if not isinstance(archs, np.ndarray | Array):
        archs = space.from_strs([_text(space, arch) for arch in archs])
    codes = space.check_codes(archs)
    options.setdefault("block_size", min(len(codes), 256))
    scorer = make_scorer(space, proxies, **options)
    means = {k: v.mean(1) for k, v in scorer.score(codes).scores.items()}
    means |= scorer.counts(codes)
    return {proxy.name: means[proxy.name] for proxy in scorer.proxies}


def _text(space: Space, arch: object) -> str:
    if not isinstance(arch, str):
        raise ValueError(
            f"architectures are strings, or codes as one array [N, {len(space.choices)}"
            f"], not {arch!r} in a list; forms of other libraries, such as NASLib's "
            "tuples, are read as text"
        )
    return arch


def _proxies(proxies: Sequence[Proxy | str]) -> list[Proxy]:
    chosen = [parse_proxy(p) if isinstance(p, str) else p for p in proxies]
    names = [proxy.name for proxy in chosen]
    if not all(names):
        raise ValueError(
            "a proxy has no name; decorate its factory with jaxproxy.proxies.proxy"
        )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"give at least one proxy, and each once, not {names}")
    taken = {"index", "arch", "class_arch"}
    taken |= {f"{name}{end}" for name in names for end in ("_valid", "_se", "_seeds")}
    if wrong := sorted(taken.intersection(names)):
        raise ValueError(f"a run has a column {wrong[0]!r} already; rename the proxy")
    return chosen


def _needs_images(proxy: Proxy) -> bool:
    """Returns whether the user must give images; epsinas has grey ones by default."""
    others = (m for m in proxy.meters if not isinstance(m, EqualWeightsMeter))
    return any(meter.setup.inputs == "images" for meter in others)


def _fidelity(space: Space, fidelity: Fidelity | str) -> Fidelity:
    if isinstance(fidelity, str):
        check_choices(preset=(fidelity, space.presets))
        fidelity = space.presets[fidelity]
    space.check_fidelity(fidelity)
    return fidelity


def _blocks(
    fidelity: Fidelity,
    *,
    devices: int | Sequence[jax.Device] | None = None,
    block_size: int | None = None,
    lanes: int | str = 1,
    memory: int | None = None,
) -> Blocks:
    """Returns how codes are shared out; whole groups of lanes go to each device."""
    used = _devices(devices)
    check_precision(fidelity.precision, used)
    if block_size is None:
        block_size = _block_size(fidelity)
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    check_counts(block_size=block_size)
    side_by_side = make_lanes(lanes, memory, used)
    whole = len(used) * (side_by_side.number or 1)
    return Blocks(Devices.of(used), -(-block_size // whole) * whole, side_by_side)


def _devices(devices: int | Sequence[jax.Device] | None) -> list[jax.Device]:
    with known_platforms():
        local = jax.local_devices()
    if devices is None:
        return local
    if not isinstance(devices, int):
        if not devices:
            raise ValueError("give at least one device")
        return list(devices)
    if not 1 <= devices <= len(local):
        raise ValueError(
            f"devices={devices}, but this process has {len(local)}; on CPU, "
            "jaxproxy.set_up_jax(n) makes more, before JAX is used"
        )
    return local[:devices]


def _block_size(fidelity: Fidelity) -> int:
    """A power of two, at least 16, that takes about a second on two CPU cores."""
    pixels = fidelity.batch_size * fidelity.resolution**2
    work = pixels * fidelity.width**2 * fidelity.cells
    return 2 ** int(np.clip(np.log2(4e8 / work), 4, 9))


def _checked_images(
    images: np.ndarray | Array | None, labels: np.ndarray | Array | None, classes: int
) -> Batch:
    if images is None:
        if labels is not None:
            raise ValueError("labels without images")
        images = grey_images(64, 32)
    check_layout(images, "images")
    if not np.isfinite(images).all():
        raise ValueError("images contain NaN or infinity")
    num = len(images)
    y = np.zeros(num, int)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.ndim > 1 and labels.shape[1:] not in ((1,), (classes,)):
            raise ValueError(
                f"one-hot labels must be [{num}, {classes}], not {[*labels.shape]}"
            )
        y = as_labels(labels, num, "labels")
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, not {y.min()} to {y.max()}"
        )
    return Batch(jnp.asarray(images, jnp.float32), jnp.asarray(y, jnp.int32))


def _check_side(space: Space, fidelity: Fidelity, images: np.ndarray | Array) -> None:
    """Raises ValueError for images of a resolution that the space does not take."""
    shape = np.shape(images)
    if len(shape) == 4 and shape[1] >= 1:
        try:
            space.check_fidelity(replace(fidelity, resolution=shape[1]))
        except ValueError as error:
            raise ValueError(f"images of {shape[1]} pixels: {error}") from None


def _digest(images: Batch, labelled: bool) -> str:
    data = np.ascontiguousarray(images.x)
    text = f"{list(data.shape)} sha256:{hashlib.sha256(data.tobytes()).hexdigest()}"
    if not labelled:
        return text
    labels = hashlib.sha256(np.ascontiguousarray(images.y).tobytes()).hexdigest()
    return f"{text}, labels sha256:{labels}"
