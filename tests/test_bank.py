"""Proxies evaluated from stored readings equal proxies scored on the network."""

import numpy as np
import pytest

from jaxproxy import Fidelity, make_scorer
from jaxproxy.bank import rescore
from jaxproxy.spaces import nasbench201
from jaxproxy.sweep import sweep

VARIANTS = ["capacity", "intrain", "intrain(coupling=gamma)", "intrain(dead=live)"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    space = nasbench201()
    scorer = make_scorer(
        space,
        [*VARIANTS, "params"],
        fidelity=Fidelity(4, 1, 4, 8),
        seeds=2,
        devices=1,
        block_size=8,
    )
    codes = space.sample(np.random.default_rng(0), 11)
    out = tmp_path_factory.mktemp("bank") / "run"
    return sweep(scorer, codes, out, progress=False, part_size=4)


def test_equals_the_scores_of_the_run(run):
    table = rescore(run, VARIANTS).to_pandas()
    expected = run.table().to_pandas()
    assert list(table["arch"]) == list(expected["arch"])
    for name in VARIANTS:
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-5)


def test_a_variant_that_was_never_scored(run):
    table = rescore(run.path, ["intrain(coupling=o)", "intrain(coupling=sum)"])
    gamma = rescore(run, ["intrain(coupling=gamma)"])["intrain(coupling=gamma)"]
    total = table["intrain(coupling=sum)"].to_numpy()
    parts = table["intrain(coupling=o)"].to_numpy() + gamma.to_numpy()
    np.testing.assert_allclose(total, parts, rtol=1e-5)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("intrain(layers=relu)", r"needs the meters \['covariance\(relu\)'\]; .* has"),
        ("params", "is no function of readings"),
    ],
)
def test_what_the_readings_cannot_give(run, proxy, message):
    with pytest.raises(ValueError, match=message):
        rescore(run, [proxy])
