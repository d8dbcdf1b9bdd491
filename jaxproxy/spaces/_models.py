"""Anybody's Flax model as a search space of one architecture."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax import Array

from jaxproxy.measure import Network
from jaxproxy.spaces._anatomy import Anatomy, Model, anatomy, make_network
from jaxproxy.spaces._mode import Mode
from jaxproxy.spaces._records import Counts
from jaxproxy.spaces._space import Space
from jaxproxy.spaces._usage import PLAIN, Loss, Output, Usage, make_task, target_of
from jaxproxy.types import Fidelity

_PRESETS = {
    "paper": Fidelity(width=1, cells=1, batch_size=64),
    "fast": Fidelity(width=1, cells=1, batch_size=16),
}


def from_linen(
    module: linen.Module,
    x: Array,
    *,
    name: str = "model",
    call: Mapping[str, Any] | None = None,
    output: Output | None = None,
    loss: Loss | None = None,
) -> Space:
    """The space whose one architecture is a Linen module, used as it is.

    Layers, normalisations, ``jax.nn.relu`` and the input are tapped, so every proxy
    applies that reads no cells, stages or features before pooling. A proxy that wants
    the default weights gets those of the module's own initialisers. BatchNorm is in the
    mode of the setup, whatever that of the module.

    Args:
      module: called as ``module(x, **call)``; it gives float[B, ...].
      x: float[B, ...], or int[B, ...] of tokens below the largest of x, and that; its
        shape without B is that of all inputs. Of a fidelity, only the batch size
        counts.
      name: string of the architecture.
      call: keyword arguments of every call, such as ``{"train": True}``.
      output: which output is scored if there are several: a place, a key, the name of
        an attribute, or a function from all to one.
      loss: what gradients are of: ``"cross_entropy"`` of random classes along the last
        axis, ``"binary"`` cross-entropy of random 0 and 1, ``"mse"`` of Gaussian
        targets, or a function of outputs and Gaussian targets of their shape. By
        default cross-entropy of logits [B, K], binary of one; other outputs have none.

    Raises:
      ValueError: inputs that are no numbers, several outputs or an output that is none
        of real numbers, or an unknown loss.
    """
    return model_space({name: module}, x, use=Usage(call, output, loss))


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module] | nnx.Module,
    x: Array,
    *,
    name: str = "model",
    call: Mapping[str, Any] | None = None,
    output: Output | None = None,
    loss: Loss | None = None,
) -> Space:
    """The space whose one architecture is an NNX module, as :func:`from_linen`.

    Args:
      make: builds the module from ``nnx.Rngs``, or is one, whose weights all seeds
        then share.
      x: as in :func:`from_linen`.
      name: string of the architecture.
      call: as in :func:`from_linen`.
      output: as in :func:`from_linen`.
      loss: as in :func:`from_linen`.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    return model_space({name: make}, x, use=Usage(call, output, loss))


def model_space(
    models: Mapping[str, Model],
    x: Array,
    known: Anatomy | None = None,
    use: Usage = PLAIN,
) -> Space:
    """The space of models of one structure, each with weights of its own.

    Args:
      models: name -> model, all of equal ``anatomy(...).structure``.
      x: as in :func:`from_linen`.
      known: their anatomy, if it is known.
      use: how they are called, and what is scored.

    Raises:
      ValueError: as :func:`from_linen`.
    """
    names, members = list(models), list(models.values())
    known = known or anatomy(names[0], members[0], x, use)

    # Flax takes a while to make one, and every proxy's setup asks for it.
    @functools.cache
    def made(weights: str | None, norm: str) -> Network:
        modes = {"weights": weights, "norm": norm, "call": use.call}
        nets = [make_network(m, x, choose=use.chosen, **modes) for m in members]
        return nets[0] if len(nets) == 1 else _choice(nets)

    def network(fidelity: Fidelity, mode: Mode) -> Network:
        # The default stands for the weights of the model's own initialisers.
        own = mode.weights == Mode().weights
        return made(None if own else mode.weights, mode.norm)

    def count(number: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda codes: np.full(np.shape(codes)[:-1], number, np.int64)

    def from_str(name: str) -> np.ndarray:
        if name not in models:
            raise ValueError(f"unknown model {name!r}; choose from {names}")
        return np.array([names.index(name)], np.int32)

    return Space(
        name="models",
        choices=(len(names),),
        to_str=lambda code: names[code[0]],
        from_str=from_str,
        network=network,
        task=make_task(x, known.output, target_of(known.output, use.loss)),
        counts=Counts(
            count(known.num_params), count(known.num_macs), count(known.num_tensors)
        ),
        enumerate=lambda: np.arange(len(names), dtype=np.int32)[:, None],
        presets=_PRESETS,
        settings={"models": names, "input": list(x.shape[1:]), "loss": known.loss},
    )


def _choice(networks: list[Network]) -> Network:
    """One program for networks of equal structure; the code chooses the weights."""

    def init(key: Array) -> Any:
        return jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *[net.init(key) for net in networks]
        )

    def choose(params: Any, code: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[code[0]], params)

    return Network(init, networks[0].apply, choose=choose)
