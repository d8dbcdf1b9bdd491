"""Proxies of activations, accuracies and counts, worked out by hand."""

import functools
import math
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from helpers.hand_worked import linear, score, score_readings, tapped
from jax import Array

from jaxproxy import proxies
from jaxproxy.measure import Block, Network, Tap
from jaxproxy.meters._jacobian import Jacobian
from jaxproxy.proxies import Proxy
from jaxproxy.spaces import nasbench201

close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
LN2 = math.log(2)


def test_patterns() -> None:
    # Rectified units of three images: image 0 activates units 0 and 1, image 1 unit 0,
    # image 2 the same as image 1.
    relu = tapped(["relu"], jax.nn.relu)
    images = [[[1, 1, -1, -1], [1, -1, -1, 0], [9, -2, -3, -1]]]
    # Images 0 and 1 agree on three units of four: K = [4 3; 3 4], det K = 7.
    close(score(proxies.naswot(), relu, {}, [images[0][:2]])[0], math.log(7))
    # Images 1 and 2 agree on all.
    assert score(proxies.naswot(), relu, {}, images) == (-math.inf, False)
    for hashed in (False, True):
        assert score(proxies.linear_regions(hashed=hashed), relu, {}, images)[0] == 2
    # Columns (1, 1, 1), (1, 0, 0), and twice (0, 0, 0).
    assert score(proxies.swap(), relu, {}, images)[0] == 3


def test_patterns_of_several_layers() -> None:
    # K of two layers of two and one units is added up: [2 1; 1 2] + [1 0; 0 1].
    kernels = [[[2, 1], [1, 2]], [[1, 0], [0, 1]]]
    close(score_readings(proxies.naswot(), kernels)[0], math.log(3 * 3 - 1))
    # Two images that one layer tells apart are two, though the other does not.
    kernels = [[[2, 2], [2, 2]], [[1, 0], [0, 1]]]
    assert score_readings(proxies.linear_regions(), kernels)[0] == 2
    # So are images whose layers trade patterns; the third is the first again.
    a, b = [1, 2], [3, 4]
    hashes = np.array([[a, b, a], [b, a, b]], np.uint32)
    assert score_readings(proxies.linear_regions(hashed=True), hashes)[0] == 2


def test_zen() -> None:
    # One channel, images 0 and 2, then 0 and 2.2. Delta is (0 + 0.2) / 2; the unbiased
    # variances are 2 and 2.42; the running one 0.81 + 0.09 * 2 + 0.1 * 2.42 = 1.232.
    network = tapped(["features", "bn_input", "linear"])
    given, _ = score(proxies.zen(), network, {}, [[[0], [2]], [[0], [2.2]]])
    close(given, math.log(0.1) + math.log(1.232) / 2)


def test_cv() -> None:
    # Mean 1/2, squared deviations 2/16, over 3: sigma = sqrt(1/24), over 1/2.
    accuracies = [[0.5, 0.25, 0.75, 0.5]]
    close(score_readings(proxies.cv(draws=4), accuracies)[0], 1 / math.sqrt(6))
    assert not score_readings(proxies.cv(), np.zeros((1, 4)))[1]  # 0 / 0
    # Every draw is the identity, which gets one image of two right.
    network, params = linear(np.eye(2))
    network = network._replace(init=lambda key: params)
    given = score(proxies.cv(draws=3), network, {}, [[[1, 0], [1, 0]]], [[0, 1]])
    assert given == (0, True)


def test_weight_agnostic() -> None:
    # Logits (v x, 0). Images 1, 2, -1 of classes 0, 1, 1: a positive v answers 0, 0, 1,
    # a negative one 1, 1, 0, which is right for 2 and for 1 of 3.
    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        kernel = tap.parameter("kernel", params["kernel"], "linear_w")
        return jnp.concatenate([x * kernel, jnp.zeros_like(x)], axis=1)

    proxy = proxies.weight_agnostic(values=(-1.0, 1.0, 2.0))
    params = {"kernel": jnp.zeros(())}
    network = Network(lambda key: params, apply)
    close(score(proxy, network, params, [[[1], [2], [-1]]], [[0, 1, 1]])[0], 5 / 9)


def test_az_expressivity_and_progressivity() -> None:
    # Entropies ln 2 of (1, 1), H of (1, 3) and 0 of (1, 0).
    spectra = [[1, 1], [3, 1], [7, 0]]
    h = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    close(score_readings(proxies.az_expressivity(), spectra)[0], LN2 + h)
    # Steps H - ln 2 = -0.13 and -H = -0.56.
    close(score_readings(proxies.az_progressivity(), spectra)[0], -h)
    # Channels that do not correlate have a covariance proportional to I.
    image = [[[[[1, 0], [-1, 0]], [[0, 1], [0, -1]]]]]
    network = tapped(["stem", "cell"])
    close(score(proxies.az_expressivity(), network, {}, image)[0], 2 * LN2)
    close(score(proxies.az_progressivity(), network, {}, image)[0], 0, atol=1e-6)


def _blocks(*factors: float, pooled: bool = False) -> Network:
    """Multiplications, after a first block that does not count, and perhaps a pool."""

    def pool(params: Array, x: Array) -> Array:
        n, height, width, c = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, c).mean((2, 4)) * params

    def scale(params: Array, x: Array) -> Array:
        return x * params

    blocks = [Block(scale, jnp.ones(1)), Block(scale, jnp.array(factors, float))]
    if pooled:
        blocks.append(Block(pool, jnp.ones(1)))
    return tapped([])._replace(blocks=lambda params, code: tuple(blocks))


def test_az_trainability() -> None:
    # One channel of signs g: g_in = c g_out and mean g_in g_out = c = s, whatever the
    # signs are. c = 4: 2 - 4 - 1/4; c = 1/2: 2 - 1/2 - 2.
    image = np.ones((1, 2, 4, 4, 1))
    proxy = proxies.az_trainability()
    close(score(proxy, _blocks(4, 0.5), {}, image)[0], (-2.25 - 0.5) / 2)
    # A mean over 2x2 pixels hands a quarter back to each of four, which are channels
    # then: s = |(1/4, 1/4, 1/4, 1/4)| = 1/2.
    given, _ = score(proxy, _blocks(4, 0.5, pooled=True), {}, image)
    close(given, (-2.25 - 0.5 - 0.5) / 3)
    assert score(proxy, _blocks(4, 1), {}, image) == (-math.inf, False)
    # No gradient comes back: 2 - 0 - 1e6.
    close(score(proxy, _blocks(0), {}, image)[0], 2 - 1e6)


def _entropy(deciles: np.ndarray) -> float:
    t = deciles / deciles.sum()
    return -(t * np.log(t)).sum()


def _fisher(proxy: Proxy, logit: int) -> float:
    """Of three images; the n-th moves one logit by sqrt(3 - n) per unit of tensor n."""
    jacobian = np.zeros((3, 2, 3))
    jacobian[range(3), logit, range(3)] = np.sqrt([3, 2, 1])
    given = Jacobian(*map(jnp.asarray, (np.zeros((3, 2)), jacobian, np.ones(3, bool))))
    with patch("jaxproxy.meters._fisher.logit_jacobian", return_value=given):
        spectrum = proxy.meters[0].measure(SimpleNamespace())
    return score_readings(proxy, spectrum[None], np.ones(3))[0]


def test_vkdnw_entropy_of_a_diagonal_fisher_matrix() -> None:
    # p = (1/2, 1/2), smoothed or not; diag p - p p^T = [1 -1; -1 1] / 4, so each image
    # adds d_n^2 / 4 to the diagonal, which is proportional to (3, 2, 1). Between them,
    # the deciles are 3 - 2 q.
    q = np.arange(1, 10) / 10
    for logit in (0, 1):
        close(_fisher(proxies.vkdnw_entropy(), logit), _entropy(3 - 2 * q), rtol=1e-4)
    # Of the first two tensors: 3 - q. Of the first: one value nine times.
    two, one = (proxies.vkdnw_entropy(tensors=n) for n in (2, 1))
    close(_fisher(two, 0), _entropy(3 - q), rtol=1e-4)
    close(_fisher(one, 0), math.log(9), rtol=1e-4)
    # The published code multiplies by L = [1/2 0; -1/2 0] instead of its transpose, so
    # the first logit counts d_n^2 / 2 and the second nothing.
    published = proxies.vkdnw_entropy(fisher="reference")
    close(_fisher(published, 0), _entropy(3 - 2 * q), rtol=1e-4)
    close(_fisher(published, 1), 0, atol=1e-6)


def test_meco() -> None:
    # Over three pixels, channels (1, 2, 3) and (1, 3, 2) correlate by 1/2: [1 r; r 1]
    # has 1/2 and 3/2. Two taps see it, one of them squared: (1, 4, 9) and (1, 9, 4),
    # centred (-11, -2, 13) / 3 and (-11, 13, -2) / 3: r = (121 - 52) / 294.
    def apply(params: Any, x: Array, code: Array | None, tap: Tap) -> Array:
        tap("first", x, "conv")
        return tap("second", jnp.square(x), "relu")

    network = Network(lambda key: {}, apply)
    image = [[[[[1, 1], [2, 3], [3, 2]]]]]
    given, _ = score(proxies.meco(), network, {}, image)
    close(given, (1 - 1 / 2) + (1 - 69 / 294))
    # A constant channel correlates with nothing, itself included: [1 0; 0 0].
    image = [[[[[1, 5], [2, 5], [3, 5]]]]]
    close(score(proxies.meco(), network, {}, image)[0], 0, atol=1e-6)


def test_num_tensors() -> None:
    # Weights, scales and shifts of the stem (3), of two convolutions in each of two
    # reductions (12) and their shortcuts' weights (2); scale and shift of the last
    # BatchNorm, weights and bias of the classifier: 21. A convolution of the cell adds
    # three tensors in each of 15 cells.
    space = nasbench201()
    cells = [
        "|skip_connect~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
    ]
    codes = np.stack([space.from_str(cell) for cell in cells])
    count = proxies.num_tensors().count
    assert count is not None
    np.testing.assert_array_equal(count(space, codes), [21, 21 + 2 * 45])
