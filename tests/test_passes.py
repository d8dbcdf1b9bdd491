"""Passes are shared by setup, and the scorer runs each once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxproxy
from jaxproxy.meters import (
    Meter,
    covariance,
    gradient_flow,
    gradient_norm,
    saliency,
    tangent_kernel,
    weight_norm,
)
from jaxproxy.passes import Prepared, Runner, make_passes, make_runner
from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.setups import Setup
from jaxproxy.types import Array, Batch, Fidelity

SMALL = Fidelity(width=4, cells=1, batch_size=4, resolution=8)


def test_meters_of_one_setup_share_a_pass():
    other = Setup(loss="sum")
    passes = make_passes(
        [
            saliency(),
            covariance(),
            saliency().under(other),
            saliency(),
            tangent_kernel(),
        ]
    )
    assert [run.setup for run in passes] == [Setup(), other]
    assert passes[0].meters == (saliency(), covariance(), tangent_kernel())
    assert passes[0].taps == (saliency(), covariance())
    assert passes[0].whole == (tangent_kernel(),)
    assert passes[0].backward


def test_a_forward_pass_needs_no_backward_pass():
    assert not make_passes([covariance()])[0].backward


def test_two_meters_of_one_name():
    twin = Meter("saliency(weights)", ("conv_w",), "weight", lambda w: w.sum())
    with pytest.raises(ValueError, match="two different meters have one name"):
        make_passes([saliency(), twin])


def test_a_setup_is_part_of_a_meters_name():
    setup = Setup(weights="abs")
    meter = gradient_norm().under(setup)
    assert meter.name == "gradient_norm(weights)@weights=abs"
    assert meter.under(Setup()) == gradient_norm()


def test_first_order_proxies_share_one_pass():
    names = ["intrain", "snip", "plain", "grad_norm", "fisher", "naswot", "capacity"]
    meters = [m for name in names for m in parse_proxy(name).meters]
    assert len(make_passes(meters)) == 1


def test_together_and_alone_are_equal():
    space = jaxproxy.spaces.nasbench201()
    codes = space.sample(np.random.default_rng(0), 4)
    names = ["capacity", "zen", "l2_norm"]
    together = jaxproxy.score(space, codes, names, fidelity=SMALL)
    apart = {n: jaxproxy.score(space, codes, [n], fidelity=SMALL)[n] for n in names}
    for name, alone in apart.items():
        np.testing.assert_allclose(together[name], alone, rtol=1e-5)


def test_a_proxy_says_whether_its_score_means_anything():
    space = jaxproxy.spaces.nasbench201()
    meter = covariance()
    proxy = Proxy(
        "layers",
        meters=(meter,),
        score=lambda readings: readings.count(meter).astype(jnp.float32),
        valid=lambda readings: readings.count(meter) > 7,
    )
    codes = np.array([[0] * 6, [3] * 6], np.int32)
    scored = jaxproxy.make_scorer(space, [proxy], fidelity=SMALL, block_size=4)(codes)
    # Stem and two reductions of three convolutions, and 18 of the cells.
    np.testing.assert_array_equal(scored.scores["layers"][:, 0], [7, 25])
    np.testing.assert_array_equal(scored.valid["layers"][:, 0], [False, True])


def test_readings_for_scores_only_are_not_kept():
    space = jaxproxy.spaces.nasbench201()
    scorer = jaxproxy.make_scorer(space, ["naswot", "capacity"], fidelity=SMALL)
    scored = scorer(space.sample(np.random.default_rng(0), 4))
    assert set(scored.readings) == {"covariance(conv)"}


def test_images_that_were_not_given():
    space = jaxproxy.spaces.nasbench201()
    with pytest.raises(
        ValueError, match=r"snip.* is scored on images; none were given"
    ):
        jaxproxy.make_scorer(space, ["snip(inputs=images)"], fidelity=SMALL)


def test_labels_that_are_no_classes():
    space = jaxproxy.spaces.nasbench201()
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    options = {"fidelity": SMALL, "images": images}
    with pytest.raises(ValueError, match="labels must be from 0 to 9, not 0 to 10"):
        jaxproxy.make_scorer(space, ["snip"], labels=np.array([0, 1, 2, 10]), **options)
    with pytest.raises(ValueError, match=r"labels must be integers \[4\], not \[3\]"):
        jaxproxy.make_scorer(space, ["snip"], labels=np.zeros(3, int), **options)


def test_a_space_without_the_network_that_a_setup_needs():
    space = jaxproxy.spaces.nasbench201()
    network = space.network
    bare = jaxproxy.Space(
        **{
            **{k: getattr(space, k) for k in space.__dataclass_fields__},
            "network": lambda fidelity: network(fidelity),
        }
    )
    with pytest.raises(ValueError, match="has no network with weights=abs, norm=none"):
        jaxproxy.make_scorer(bare, ["synflow"], fidelity=SMALL)


def test_what_runs_on_the_plain_network():
    space = jaxproxy.spaces.nasbench201()
    own = Meter("own", (), "network", lambda model: model.batch.x)
    meters = (tangent_kernel(), False), (gradient_flow(), False), (own, True)
    for meter, plain in meters:
        runner = make_runner(space, SMALL, make_passes([meter])[0])
        assert (runner.plain is not runner.network) == plain == meter.plain


def test_weights_need_no_pass():
    space = jaxproxy.spaces.nasbench201()
    code = jnp.full(6, 3)
    for meter, runs in ((weight_norm(), False), (covariance(), True)):
        runner = make_runner(space, SMALL, make_passes([meter])[0])
        params = runner.network.init(jax.random.key(0))
        batches = Batch(jnp.ones((1, 4, 8, 8, 3)), jnp.zeros((1, 4), int))
        prepared = Prepared(params, batches, jax.random.key(0))

        def measure(code: Array, runner: Runner = runner, prepared=prepared) -> Any:
            scratch = runner.scratch(prepared, code)
            return runner(prepared, code, scratch)

        loops = jax.jit(measure).lower(code).compile().as_text().count(" while(")
        assert (loops > 0) == runs, meter.name
