"""Names that cannot lie: equal names are equal calls, and others are told apart."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.toy_space import toy

from jaxproxy.analysis import rescore
from jaxproxy.meters import (
    Activation,
    ActivationMeter,
    ParameterMeter,
    covariance,
    meter,
)
from jaxproxy.proxies import PROXIES, Proxy, capacity, intrain, parse_proxy, proxy
from jaxproxy.scoring import Scorer, make_scorer, sweep
from jaxproxy.types import Fidelity

SPACE = toy()
SMALL = Fidelity(width=4, cells=1, batch_size=12, resolution=8)
CODES = SPACE.sample(np.random.default_rng(0), 6)


def scorer_of(*proxies: Proxy | str) -> Scorer:
    return make_scorer(SPACE, proxies, fidelity=SMALL, devices=1, block_size=6)


def share(threshold: float, name: str = "share") -> ActivationMeter:
    """A meter whose author forgot to name its option."""

    def measure(activation: Activation) -> jnp.ndarray:
        return (activation.value > threshold).astype(jnp.float32).mean()

    return ActivationMeter(("linear",), measure, name=name)


def total(read: ActivationMeter, name: str) -> Proxy:
    return Proxy(name, meters=(read,), score=lambda readings: readings[read].sum())


def test_two_meters_of_one_name_and_unlike_code_are_refused() -> None:
    """One of the proxies would read what the other's meter has measured."""
    with pytest.raises(ValueError, match="two different meters have one name"):
        scorer_of(total(share(0.0), "low"), total(share(1.0), "high"))


def test_two_meters_of_one_name_and_like_code_are_one() -> None:
    """However often the factory is called."""
    low, again = total(share(0.0), "low"), total(share(0.0), "again")
    scorer = scorer_of(low, again)
    assert len(scorer.meters) == 1
    block = scorer.score(CODES)
    np.testing.assert_array_equal(block.scores["low"], block.scores["again"])


def test_positional_options_of_ones_own_are_told_apart() -> None:
    """The first is written bare; a later one never, if the first is left out."""

    @proxy
    def power(a: float = 1.0, b: float = 1.0) -> Proxy:
        return Proxy(meters=(share(a, "s"),), score=lambda r: b * jnp.zeros(()))

    assert power(a=3).name == power(3).name == "power(3)"
    assert power(b=3).name == "power(b=3)"
    assert power(3, 4).name == "power(3,4)"
    assert power(b=np.float64(0.1)).name == power(b=0.1).name == "power(b=0.1)"
    assert power(b=float(np.float32(0.1))).name == power(b=np.float32(0.1)).name


def test_one_kind_is_told_from_the_group_of_its_name() -> None:
    alone, group = covariance(("cell",)), covariance("cell")
    assert alone.kinds == ("cell",) and group.kinds == ("cell", "reduction")
    assert (alone.name, group.name) == ("covariance(cell+)", "covariance(cell)")
    assert capacity(layers=("cell",)).name == "capacity(layers=cell:)"
    assert parse_proxy("capacity(layers=cell:)").meters == (
        capacity(layers=("cell",)).meters
    )
    assert parse_proxy("capacity(layers=cell:)").name == "capacity(layers=cell:)"


@pytest.mark.parametrize("name", ["x_se", "x_valid", "x_seeds", "index", "arch"])
def test_columns_do_not_overwrite_each_other(name: str) -> None:
    """``x_se`` was the standard error of ``x`` and then the scores of ``x_se``."""
    with pytest.raises(ValueError, match=f"has a column '{name}' already"):
        scorer_of(total(share(0.0), "x"), total(share(0.0), name))


def test_what_a_meter_reads_is_checked() -> None:
    """A text was searched for kinds, of which ``"bn_input"`` has three."""
    with pytest.raises(ValueError, match="are a tuple of names such as"):
        ActivationMeter("bn_input", lambda a: a.value, name="m")  # pyrefly: ignore
    with pytest.raises(ValueError, match="unknown reads 'gradients'; choose from"):
        ParameterMeter(("conv_w",), lambda p: p.weight, reads="gradients", name="m")


def test_what_the_call_tells_apart_is_told_apart() -> None:
    """The decorator writes the option that the author above forgot."""

    @meter
    def named(*, threshold: float = 0.0) -> ActivationMeter:
        return share(threshold)

    low, high = total(named(), "low"), total(named(threshold=1.0), "high")
    block = scorer_of(low, high).score(CODES)
    assert (block.scores["low"] > block.scores["high"]).all()
    for one in (low, high):
        alone = scorer_of(one).score(CODES)
        np.testing.assert_array_equal(alone.scores[one.name], block.scores[one.name])


def test_variants_made_in_python_are_scored_together_and_stored(tmp_path) -> None:
    """Both were called ``intrain`` once, and one column was lost."""
    first = intrain(layers="linear", coupling="gamma")
    second = intrain(layers="linear", coupling="o")
    assert first.name == "intrain(layers=linear,coupling=gamma)"
    assert parse_proxy(second.name).name == second.name
    scorer = scorer_of(first, second)
    block = scorer.score(CODES)
    assert (block.scores[first.name] != block.scores[second.name]).all()
    for one in (first, second):
        alone = scorer_of(one).score(CODES)
        np.testing.assert_allclose(
            alone.scores[one.name], block.scores[one.name], rtol=1e-6
        )
    run = sweep(scorer, CODES, tmp_path / "run", progress=False)
    table, again = run.table().to_pandas(), rescore(run, [first, second]).to_pandas()
    for one in (first, second):
        np.testing.assert_array_equal(table[one.name], block.scores[one.name][:, 0])
        np.testing.assert_allclose(again[one.name], table[one.name], rtol=1e-6)


def test_one_proxy_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="each once"):
        scorer_of(capacity(layers="linear"), "capacity(layers=linear)")


def test_a_proxy_without_a_name_is_refused() -> None:
    read = covariance("linear")
    with pytest.raises(ValueError, match="a proxy has no name; decorate its factory"):
        scorer_of(Proxy(meters=(read,), score=lambda readings: readings[read].sum()))


@pytest.mark.parametrize("name", PROXIES)
def test_a_call_is_the_name(name: str) -> None:
    """Positional use aside, what is written is what was given, and comes back."""
    made = PROXIES[name]()
    assert made.name == name
    for option, default in (PROXIES[name].__kwdefaults__ or {}).items():
        if default is not None:
            given = PROXIES[name](**{option: default})
            assert given.name.startswith(f"{name}({option}=")
            assert parse_proxy(given.name).name == given.name


def test_wrong_values_of_literals_and_flags_are_refused() -> None:
    @proxy
    def mine(*, how: Literal["a", "b"] = "a", strict: bool = False) -> Proxy:
        return Proxy(count=lambda space, codes: codes.sum(1).astype(float))

    assert mine(how="b", strict=True).name == "mine(how=b,strict=True)"
    with pytest.raises(ValueError, match=r"unknown how 'c'; choose from \['a', 'b'\]"):
        mine(how="c")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'strict' of mine must be True or False"):
        mine(strict="yes")  # type: ignore[arg-type]
