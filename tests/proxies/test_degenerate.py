"""Architectures without a path, or with nothing but identities, by every proxy.

A score that means nothing is returned as it is, with a flag; nothing takes its place.
"""

from functools import cache

import jax
import numpy as np
import pytest
from helpers.table_scorers import SMALL, SPACE, TABLE, scorer_of

from jaxproxy.measure import make_batch

ARCHS = {
    "none": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "skip": "|skip_connect~0|+|skip_connect~0|skip_connect~1|"
    "+|skip_connect~0|skip_connect~1|skip_connect~2|",
    "identity": "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
}
WIDTH, CLASSES = SMALL.width, SPACE.task.num_outputs
MEASURED = [name for name, proxy in TABLE.items() if proxy.count is None]


@cache
def _scores(name: str) -> dict[str, tuple[float, bool]]:
    """Architecture -> score and flag."""
    codes = np.stack([SPACE.from_str(arch) for arch in ARCHS.values()])
    block = scorer_of(name).score_block(codes)
    pairs = zip(block.scores[name][:, 0], block.valid[name][:, 0], strict=True)
    return dict(zip(ARCHS, ((float(s), bool(v)) for s, v in pairs), strict=True))


def _labels() -> np.ndarray:
    """Of the batch of seed 0."""
    _, key = jax.random.split(jax.random.key(0))
    return np.asarray(make_batch(key, SMALL, CLASSES).y)


@pytest.mark.parametrize("name", MEASURED)
def test_identities_are_scored(name: str) -> None:
    """All proxies but the trainability, which an identity leaves without a scale."""
    for arch in ("skip", "identity"):
        value, valid = _scores(name)[arch]
        if (name, arch) == ("az_trainability", "identity"):
            assert (value, valid) == (-np.inf, False)
        else:
            assert np.isfinite(value), arch
            assert valid, arch


@pytest.mark.parametrize(
    "name", ["snip", "plain", "grasp", "grad_norm", "grad_sign", "fisher", "xi_gsnr"]
)
def test_no_weight_has_a_gradient_without_a_path(name: str) -> None:
    """Exactly 0 and valid; fisher too, since the classifier's bias starts at 0."""
    assert _scores(name)["none"] == (0, True)


def test_the_classifiers_bias_has_a_gradient_without_a_path() -> None:
    # All logits are 0, so the bias has the gradient 1/K - n_k/B; the ReLU before the
    # classifier is at 0, so that it lets none through to BatchNorm.
    shares = np.bincount(_labels(), minlength=CLASSES) / SMALL.batch_size
    expected = np.linalg.norm(1 / CLASSES - shares)
    value, valid = _scores("grad_norm(norm=global)")["none"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert valid


def test_a_logarithm_of_nothing_is_minus_infinity() -> None:
    """synflow is a logarithm here, that of 0; features do not move with the input."""
    for name in ("synflow", "zen"):
        assert _scores(name)["none"] == (-np.inf, False), name


@pytest.mark.parametrize(
    "name", ["jacov", "epe_nas", "ntk", "epsinas", "az_expressivity"]
)
def test_a_ratio_of_nothing_is_not_a_number(name: str) -> None:
    value, valid = _scores(name)["none"]
    assert np.isnan(value)
    assert not valid


def test_progressivity_without_a_path() -> None:
    value, valid = _scores("az_progressivity")["none"]
    assert np.isnan(value)
    assert not valid


def test_no_unit_is_active_without_a_path() -> None:
    """The stem is not rectified, so all images have one pattern, and units too."""
    assert _scores("naswot")["none"] == (-np.inf, False)
    assert _scores("linear_regions")["none"] == (1, True)
    assert _scores("swap")["none"] == (1, True)


def test_trainability_of_dead_cells() -> None:
    # 2 - 0 - 1e6 for each of three cells; the two reductions still pass gradients on.
    value, valid = _scores("az_trainability")["none"]
    np.testing.assert_allclose(value, 3 * (2 - 1e6) / 5, rtol=1e-4)
    assert valid


def test_no_gradient_varies_without_a_path() -> None:
    """An empty sum, which is better than many a network: hence invalid."""
    assert _scores("zico")["none"] == (0, False)


def test_the_fisher_matrix_without_a_path() -> None:
    # Only the first logit's bias moves an output: one eigenvalue, which no decile sees.
    value, valid = _scores("vkdnw_entropy")["none"]
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert valid


def test_intrain_counts_dead_layers_unless_told_otherwise() -> None:
    # No gradient, so o = 0. The three convolutions of each reduction are dead, PR = C
    # by the paper's jitter; capacity leaves them out, and only the stem is left.
    intrain, capacity = (_scores(name)["none"][0] for name in ("intrain", "capacity"))
    dead = 3 * np.log(2 * WIDTH) + 3 * np.log(4 * WIDTH)
    np.testing.assert_allclose(
        intrain * np.log(7 + 1), capacity * np.log(1 + 1) + dead, rtol=1e-5
    )


def test_weights_alone_do_not_tell_paths() -> None:
    values = {_scores("l2_norm")[arch] for arch in ARCHS}
    assert len(values) == 1


def test_accuracy_of_equal_logits() -> None:
    """The first class is answered: its share, without variation."""
    share = float((_labels() == 0).mean())
    np.testing.assert_allclose(_scores("weight_agnostic")["none"][0], share, rtol=1e-6)
    value, valid = _scores("cv")["none"]
    assert (value, valid) == (0, True) if share else (np.isnan(value) and not valid)


@pytest.mark.parametrize("name", ["params", "macs", "num_tensors"])
def test_counts_without_operations(name: str) -> None:
    codes = np.stack([SPACE.from_str(arch) for arch in ARCHS.values()])
    count = TABLE[name].count
    assert count is not None
    values = np.asarray(count(SPACE, codes))
    assert values[0] > 0
    assert (values == values[0]).all()
