"""Passes are shared by setup, and the scorer runs each once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.hand_worked import linear
from jax import Array

import jaxproxy
from jaxproxy.measure import (
    BoundPass,
    NetworkMeter,
    ParameterMeter,
    PassInputs,
    Setup,
    collect_batches,
    make_passes,
)
from jaxproxy.meters import (
    covariance,
    gradient_agreement,
    gradient_flow,
    gradient_norm,
    gradient_snr,
    gradient_stability,
    saliency,
    tangent_kernel,
    variance,
    weight_norm,
)
from jaxproxy.proxies import Proxy, parse_proxy
from jaxproxy.scoring import bind_pass
from jaxproxy.types import Batch, Fidelity

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
    twin = ParameterMeter(
        ("conv_w",), lambda p: p.weight.sum(), name="saliency(weights)"
    )
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
    names = ["capacity", "zen", "l2_norm", "zico(weights=kaiming)"]
    together = jaxproxy.make_scorer(space, names, fidelity=SMALL, block_size=4)
    assert len(together.passes) == 2  # zico shares its first batch with capacity
    for name, scores in together.score_block(codes).scores.items():
        alone = jaxproxy.make_scorer(space, [name], fidelity=SMALL, block_size=4)
        # Where two gradients nearly agree, zico divides by their last digits.
        rtol = 1e-4 if "zico" in name else 1e-5
        np.testing.assert_allclose(
            scores, alone.score_block(codes).scores[name], rtol=rtol
        )


def test_setups_that_open_alike_share_batches():
    short, long = Setup(batches=2), Setup(batches=5)
    many = Setup(inputs="images", batches=2)
    meters = [saliency(), saliency().under(long), covariance().under(short)]
    shared, apart = make_passes([*meters, saliency().under(many)])
    assert shared.setup == long
    assert shared.counts == {meters[0]: 1, meters[1]: 5, meters[2]: 2}
    assert apart.setup == many


@pytest.mark.parametrize(
    "setup",
    [
        Setup(inputs="perturbed"),
        Setup(inputs="ones"),
        Setup(single=True),
        Setup(loss="logit"),
    ],
)
def test_setups_whose_batches_differ_share_none(setup: Setup):
    more = dataclasses.replace(setup, batches=2)
    passes = make_passes([saliency().under(setup), saliency().under(more)])
    assert [run.setup for run in passes] == [setup, more]
    assert [run.counts for run in passes] == [None, None]


def test_meters_read_the_first_batches_that_they_ask_for():
    rng = np.random.default_rng(0)
    network, params = linear(rng.normal(size=(2, 3)), rng.normal(size=(3, 4)))
    x = jnp.asarray(rng.normal(size=(5, 6, 2)), jnp.float32)
    batches = Batch(x, jnp.asarray(rng.integers(0, 4, (5, 6))))
    stability, snr, agreement = (
        gradient_stability(),
        gradient_snr(),
        gradient_agreement(),
    )
    norms, variances = gradient_norm(), variance("linear")
    counts = {norms: 3, stability: 2, saliency(): 1, snr: 5, agreement: 3, variances: 2}
    given = network, params, batches, None
    together, _ = collect_batches(*given, list(counts), counts=counts)
    for meter, count in counts.items():
        first = jax.tree.map(lambda v, count=count: v[:count], batches)
        alone, _ = collect_batches(network, params, first, None, [meter])
        np.testing.assert_allclose(together[meter], alone[meter], rtol=1e-6)
        assert together.slots(meter) == alone.slots(meter)
        other, _ = collect_batches(*given, [meter])
        if count < 5:  # or the number of batches would not be tested
            assert np.shape(other[meter]) != np.shape(alone[meter]) or not np.allclose(
                other[meter], alone[meter]
            )


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
    scored = jaxproxy.make_scorer(
        space, [proxy], fidelity=SMALL, block_size=4
    ).score_block(codes)
    # Stem and two reductions of three convolutions, and 18 of the cells.
    np.testing.assert_array_equal(scored.scores["layers"][:, 0], [7, 25])
    np.testing.assert_array_equal(scored.valid["layers"][:, 0], [False, True])


def test_readings_for_scores_only_are_not_kept():
    space = jaxproxy.spaces.nasbench201()
    scorer = jaxproxy.make_scorer(space, ["naswot", "capacity"], fidelity=SMALL)
    scored = scorer.score_block(space.sample(np.random.default_rng(0), 4))
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
    with pytest.raises(ValueError, match=r"labels must .* not int64\[3\]"):
        jaxproxy.make_scorer(space, ["snip"], labels=np.zeros(3, int), **options)


def test_a_space_without_the_network_that_a_setup_needs():
    space = jaxproxy.spaces.nasbench201()
    bare = jaxproxy.Space(
        **{
            **{k: getattr(space, k) for k in space.__dataclass_fields__},
            "norms": ("batch", "fixed"),
        }
    )
    with pytest.raises(ValueError, match="nasbench201 has no network with norm=none"):
        jaxproxy.make_scorer(bare, ["synflow"], fidelity=SMALL)


def test_what_runs_on_the_plain_network():
    space = jaxproxy.spaces.nasbench201()
    own = NetworkMeter(lambda model: model.batch.x, name="own")
    meters = (tangent_kernel(), False), (gradient_flow(), False), (own, True)
    for meter, plain in meters:
        runner = bind_pass(space, SMALL, make_passes([meter])[0])
        assert (runner.plain is not runner.network) == plain == meter.plain


def test_weights_need_no_pass():
    space = jaxproxy.spaces.nasbench201()
    code = jnp.full(6, 3)
    for meter, runs in ((weight_norm(), False), (covariance(), True)):
        runner = bind_pass(space, SMALL, make_passes([meter])[0])
        params = runner.network.init(jax.random.key(0))
        batches = Batch(jnp.ones((1, 4, 8, 8, 3)), jnp.zeros((1, 4), int))
        prepared = PassInputs(params, batches, jax.random.key(0))

        def measure(code: Array, runner: BoundPass = runner, prepared=prepared) -> Any:
            scratch = runner.scratch(prepared, code)
            return runner.read(prepared, code, scratch)

        loops = jax.jit(measure).lower(code).compile().as_text().count(" while(")
        assert (loops > 0) == runs, meter.name
