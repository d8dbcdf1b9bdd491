"""Proxies of gradients on networks so small that scores are worked out by hand."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from helpers.hand_worked import linear, score, score_readings
from jax import Array

from jaxproxy import meters, proxies
from jaxproxy.measure import Network, Tap, network_from_linen
from jaxproxy.proxies import PROXIES

close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
LN2 = math.log(2)
K = 1e-5  # of jacov and epe_nas

# One image x = (1, 0) of class 0, h = x V, z = h W.
#   V = [1 2; -1 1]   h = (1, 2)
#   W = ln 2 I        z = (ln 2, 2 ln 2)   p = (1/3, 2/3)   dz = p - e_0 = (-2/3, 2/3)
#   dW = h^T dz = [-2/3 2/3; -4/3 4/3]      dh = W dz = ln 2 (-2/3, 2/3)
#   dV = x^T dh = ln 2 [-2/3 2/3; 0 0]
V = [[1, 2], [-1, 1]]
TWO_LAYERS = linear(V, [[LN2, 0], [0, LN2]])
NORM2_V, NORM2_W = LN2**2 * 8 / 9, 40 / 9  # squared norms of dV and dW

SALIENCY = {
    # |dV| + |dW|
    "grad_norm": math.sqrt(NORM2_V) + math.sqrt(NORM2_W),
    # V dV = ln 2 (-2/3, 4/3), W dW = ln 2 (-2/3, 4/3), which are all that is not 0.
    "snip": 4 * LN2,
    "plain": 4 / 3 * LN2,
    # |V| = sqrt(1 + 4 + 1 + 1), |W| = ln 2 sqrt(2)
    "l2_norm": math.sqrt(7) + LN2 * math.sqrt(2),
    # h dh = z dz = ln 2 (-2/3, 4/3): half the sum of squares is ln^2 2 10/9, and each
    # of the two channels of each layer has two weights.
    "fisher": 2 * 2 * LN2**2 * 10 / 9,
    # With all weights times s, z is s^2 z and dz = (-q, q), q = sigmoid(s^2 ln 2), so
    # the gradient is s q / (2/3) times that at s = 1. By dq/ds = q (1 - q) 2 ln 2
    # = 4/9 ln 2 at s = 1, H w = (1 + 3/2 4/9 ln 2) g, and the score is -g^T H w.
    "grasp": -(1 + LN2 * 2 / 3) * (NORM2_V + NORM2_W),
}


@pytest.mark.parametrize("name", SALIENCY)
def test_saliency(name: str) -> None:
    close(score(PROXIES[name](), *TWO_LAYERS, [[[1, 0]]])[0], SALIENCY[name])


def test_global_gradient_norm() -> None:
    proxy = proxies.grad_norm(norm="global")
    given, _ = score(proxy, *TWO_LAYERS, [[[1, 0]]])
    close(given, math.sqrt(NORM2_V + NORM2_W))


def test_saliency_by_linen_and_a_convolution() -> None:
    """The same numbers, V being a 1x1 convolution of an image of one pixel."""

    class Both(linen.Module):
        @linen.compact
        def __call__(self, x: Array) -> Array:
            x = linen.Conv(2, (1, 1), use_bias=False, name="first")(x)
            return linen.Dense(2, use_bias=False, name="last")(x.mean((1, 2)))

    network = network_from_linen(Both(), jnp.zeros((1, 1, 1, 2)))
    kernels = {"first": jnp.array([[V]], float), "last": LN2 * jnp.eye(2)}
    params = {"params": {name: {"kernel": w} for name, w in kernels.items()}}
    for name, expected in SALIENCY.items():
        given, _ = score(PROXIES[name](), network, params, [[[[[1, 0]]]]])
        close(given, expected, err_msg=name)


def test_synflow() -> None:
    # |V| = [1 2; 1 1], x = (1, 1): h = (2, 3), z = ln 2 (2, 3), R = 5 ln 2. R is linear
    # in each layer, so w dR/dw adds up to R in each: 2 R = 10 ln 2.
    network, params = linear(np.abs(V), [[LN2, 0], [0, LN2]])
    given, _ = score(proxies.synflow(norm="batch"), network, params, [[[1, 1]]])
    close(given, math.log(10 * LN2))
    # Cells divided by e and e^2 without BatchNorm: each gradient has both factors.
    saliency = [[5 * LN2, 0], [5 * LN2, 0]]
    close(
        score_readings(proxies.synflow(), saliency, [1, 2])[0], math.log(10 * LN2) + 3
    )
    # A network whose output is 0 has score log 0.
    assert score_readings(proxies.synflow(), [[0, 0]], [0]) == (-math.inf, False)


def test_dss() -> None:
    # |V| = [1 2; 1 1] counts as attention, x = (1, 1): h = (2, 3), R = ln 2 (2 + 3).
    # A 2 x 2 matrix has nuclear norm sqrt(|V|^2 + 2 |det V|) = sqrt(7 + 2); dR/dV is
    # ln 2 everywhere, of norm 2 ln 2. W dR/dW adds up to R.
    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        x = x @ tap.parameter("v", jnp.abs(jnp.array(V, jnp.float32)), "attention_w")
        return x @ tap.parameter("w", LN2 * jnp.eye(2), "linear_w")

    network = Network(lambda key: {}, apply)
    close(score(proxies.dss(), network, {}, [[[1, 1]]])[0], 3 * 2 * LN2 + 5 * LN2)


# Images (1, 2, 3) and (1, 3, 2) with logits x^2 / 2 have gradients x. Centred, they are
# (-1, 0, 1) and (-1, 1, 0): R = 1/2, and the correlation matrix has 1/2 and 3/2.
def squares() -> Network:
    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        return jnp.square(tap("input", x, "input")) / 2

    return Network(lambda key: {}, apply)


def test_jacov() -> None:
    given, _ = score(proxies.jacov(), squares(), {}, [[[1, 2, 3], [1, 3, 2]]])
    v = np.array([0.5, 1.5]) + K
    close(given, -(np.log(v) + 1 / v).sum())  # about -2.38
    # Equal gradients: eigenvalues 0 and 2.
    v = np.array([0, 2]) + K
    close(
        score_readings(proxies.jacov(), np.ones((1, 2, 2)))[0],
        -(np.log(v) + 1 / v).sum(),
    )


def test_epe_nas_of_few_classes() -> None:
    # Images 0 and 1 of class 0, image 2 of class 1, none of class 2:
    # s_0 = 2 ln(1 + k) + 2 ln(1/2 + k), s_1 = ln(1 + k).
    images = [[[1, 2, 3], [1, 3, 2], [5, 1, 2]]]
    given, _ = score(proxies.epe_nas(), squares(), {}, images, [[0, 0, 1]])
    expected = abs(2 * math.log(1 + K) + 2 * math.log(0.5 + K)) + math.log(1 + K)
    close(given, expected)


def _of_classes(num: int) -> float:
    """Two images of class 0 with R = 1/2, two of class 1 with 1/4, one of class 2."""
    correlation = np.eye(5)
    correlation[0, 1] = correlation[1, 0] = 1 / 2
    correlation[2, 3] = correlation[3, 2] = -1 / 4  # whose sign does not matter
    labels = np.eye(num)[[0, 0, 1, 1, 2]]
    return score_readings(proxies.epe_nas(), correlation[None], labels[None])[0]


def test_epe_nas_by_the_number_of_classes() -> None:
    one, half, quarter = (math.log(r + K) for r in (1, 1 / 2, 1 / 4))
    # Up to 100 classes: the sum of |s_c|.
    close(_of_classes(100), abs(2 * one + 2 * half) + abs(2 * one + 2 * quarter) + one)
    # More: s_c / n_c are one + half and one + quarter, the class of a single image is
    # left out; both ordered pairs differ by half - quarter, over 2 classes: about ln 2.
    close(_of_classes(101), 2 * (half - quarter) / 2)


def test_ntk() -> None:
    # z = x V W, W = I. The gradient of sum z for image n is h_n (1 1) for W and
    # x_n (W 1)^T for V, so Theta_nm = 2 h_n h_m + 2 x_n x_m. With x = (1, 0), (0, 1):
    # h = (1, 2), (-1, 1), Theta = 2 [5 1; 1 2] + 2 I = [12 2; 2 6], eigenvalues
    # 9 +- sqrt(9 + 4).
    network, params = linear(V, np.eye(2))
    given, _ = score(proxies.ntk(), network, params, [[[1, 0], [0, 1]]])
    close(given, (9 + math.sqrt(13)) / (9 - math.sqrt(13)))


# One layer from two inputs to two classes, W = 0, so dz = (-1/2, 1/2) for class 0.
# x = (1, 0): dW = [-1/2 1/2; 0 0]; x = (3, 1): dW = [-3/2 3/2; -1/2 1/2].
ZEROS = linear(np.zeros((2, 2)))
TWO_BATCHES = [[[1, 0]], [[3, 1]]]


def test_zico() -> None:
    # mean |g| / sigma: 1 / (1/2) = 2 in the first row, (1/4) / (1/4) = 1 in the second.
    given = score(proxies.zico(), *ZEROS, TWO_BATCHES)
    close(given[0], math.log(2 + 2 + 1 + 1))
    assert given[1]
    # The last element does not vary.
    stability = meters.gradient_stability().over_batches
    assert stability is not None
    close(stability(jnp.array([[1.0, 2, 7], [3, -2, 7]])), 2 + 1)
    # Nor does the second layer.
    close(score_readings(proxies.zico(), [3, 0])[0], math.log(3))
    # Without variance, a score of 0 that is not valid.
    assert score(proxies.zico(), *ZEROS, [[[1, 0]]] * 2) == (0, False)


def test_xi_gsnr() -> None:
    # mean^2 / variance: 1 / (1/4) in the first row, (1/4)^2 / (1/16) in the second.
    proxy = proxies.xi_gsnr(batches=2)
    close(score(proxy, *ZEROS, TWO_BATCHES)[0], 2 * 4 + 2 * 1)
    # Without variance, 0.
    assert score(proxy, *ZEROS, [[[1, 0]]] * 2)[0] == 0
    # Added up, 1/2 and 2 in the first row, mean 5/4, sigma 3/4; as before below.
    accumulated = proxies.xi_gsnr(batches=2, accumulate=True)
    close(score(accumulated, *ZEROS, TWO_BATCHES)[0], 2 * 25 / 9 + 2 * 1)


def test_grad_sign() -> None:
    # Signs agree on the first row; on the second only one image has any: 2 + 2 + 1 + 1.
    assert score(proxies.grad_sign(), *ZEROS, TWO_BATCHES)[0] == 6
    # The same two images, of different classes: 0 + 0 + 1 + 1.
    proxy = proxies.grad_sign()
    assert score(proxy, *ZEROS, TWO_BATCHES, [[0], [1]])[0] == 2
