"""Multiply-adds of a program."""

import math
from typing import Any

import numpy as np
from jax.extend import core


def count_macs(jaxpr: Any) -> int:
    """Multiply-adds of a program's convolutions and matrix products.

    Padding counts, as it does for everybody. Zeros that a transposed convolution puts
    between its inputs do not: every input meets every weight of its group once.
    """
    total = 0
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name == "conv_general_dilated":
            total += _convolution(eqn)
        elif name == "dot_general":
            left, contracted = (
                eqn.invars[0].aval.shape,
                params["dimension_numbers"][0][0],
            )
            depth = math.prod(left[axis] for axis in contracted)
            total += math.prod(eqn.outvars[0].aval.shape) * depth
        elif name == "cond":
            total += max(count_macs(branch.jaxpr) for branch in params["branches"])
        else:
            times = params.get("length", 1) if name == "scan" else 1
            total += times * sum(map(count_macs, core.jaxprs_in_params(params)))
    return total


def _convolution(eqn: Any) -> int:
    """Images times pairs of pixel and entry of the window, times pairs of channels.

    A kernel has the inputs of one group and the outputs of all.
    """
    params = eqn.params
    numbers = params["dimension_numbers"]
    inputs, kernel = (atom.aval.shape for atom in eqn.invars)
    outputs = eqn.outvars[0].aval.shape
    pairs = outputs[numbers.out_spec[0]]
    pairs *= kernel[numbers.rhs_spec[0]] * kernel[numbers.rhs_spec[1]]
    axes = zip(
        numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True
    )
    for axis, (i, k, o) in enumerate(axes):
        if params["lhs_dilation"][axis] == 1:
            pairs *= outputs[o] * kernel[k]
        elif params["window_strides"][axis] == 1:
            pairs *= inputs[i] * kernel[k]
        else:
            pairs *= _met(params, axis, inputs[i], kernel[k], outputs[o])
    return pairs


def _met(
    params: Any, axis: int, num_inputs: int, num_entries: int, num_outputs: int
) -> int:
    """How many inputs the entries of a window meet along an axis, over all its places.

    Of a window that moves by more than one over inputs with zeros in between.
    """
    starts = np.arange(num_outputs) * params["window_strides"][axis]
    entries = np.arange(num_entries) * params["rhs_dilation"][axis]
    places = starts[:, None] + entries - params["padding"][axis][0]
    met, between = np.divmod(places, params["lhs_dilation"][axis])
    return int(((between == 0) & (met >= 0) & (met < num_inputs)).sum())
