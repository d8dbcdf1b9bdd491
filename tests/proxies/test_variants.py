"""Declared choices of options, and the grid that they span."""

from typing import Literal, get_args

import pytest

from jaxproxy.meters import ACTIVATIONS, PARAMETERS, Layers, covariance, gradient
from jaxproxy.options import choices_of
from jaxproxy.proxies import PROXIES, Proxy, _intrain, parse_proxy, variants


def test_choices_are_literals_and_groups_of_taps():
    def factory(
        *,
        layers: Layers = "conv",
        mode: Literal["a", "b"] = "a",
        power: Literal[1, 2] = 1,
        strict: bool = False,
        name: str = "x",
        eps: float = 1e-8,
    ) -> Proxy: ...

    assert choices_of(factory) == {
        "layers": tuple(ACTIVATIONS),
        "mode": ("a", "b"),
        "power": (1, 2),
        "strict": (False, True),
    }
    assert choices_of(PROXIES["params"]) == {}


@pytest.mark.parametrize("name", PROXIES)
def test_every_declared_choice_makes_a_proxy(name):
    """A choice that the factory does not know would be an error in every grid."""
    for option, values in choices_of(PROXIES[name]).items():
        for value in values:
            assert parse_proxy(f"{name}({option}={value})").name


def test_intrain_declares_all_it_knows():
    found = choices_of(PROXIES["intrain"])
    assert list(found) == ["layers", "params", "dead", "coupling", "depth", "rows"]
    assert found["params"] == tuple(PARAMETERS)
    assert found["depth"] == tuple(_intrain.DEPTHS)
    for rows in get_args(_intrain.Observations):
        assert covariance("conv", rows=rows)
    with pytest.raises(ValueError, match=r"choose from \['images', 'pixels', 'raw'\]"):
        covariance("conv", rows="nope")


def test_the_grid_has_every_combination_once():
    grid = variants("intrain(layers=relu:pool,rows=raw)")
    assert len(grid) == len({v.proxy.name for v in grid}) == 4 * 2 * 4 * 4
    meters = {meter for v in grid for meter in v.proxy.meters}
    assert covariance(("relu", "pool"), rows="raw") in meters
    assert {gradient(params) for params in PARAMETERS} < meters
    for variant in grid:
        assert parse_proxy(variant.proxy.name).name == variant.proxy.name
        assert variant.options["layers"] == "relu:pool"


def test_a_variant_is_named_by_what_differs_from_the_default():
    names = {v.proxy.name: v.options for v in variants("capacity")}
    assert names["capacity"] == {
        "layers": "conv",
        "depth": "log",
        "dead": "live",
        "rows": "pixels",
    }
    assert names["capacity(depth=sqrt,dead=paper)"]["depth"] == "sqrt"


def test_a_factory_that_is_in_no_table():
    """A user's proxy has the variants that its own annotations declare."""

    def mine(*, layers: Layers = "conv", how: Literal["a", "b"] = "a") -> Proxy:
        meter = covariance(layers)
        sign = {"a": 1, "b": -1}[how]
        return Proxy(
            f"mine({layers})", meters=(meter,), score=lambda r: sign * r[meter].sum()
        )

    grid = {v.proxy.name: v for v in variants(mine)}
    assert len(grid) == len(ACTIVATIONS) * 2
    assert grid["mine"].options == {"layers": "conv", "how": "a"}
    assert grid["mine(layers=relu,how=b)"].proxy.meters == (covariance("relu"),)
    with pytest.raises(ValueError, match="'nothing' has no option with declared"):
        variants(lambda: Proxy("nothing", count=lambda space, codes: codes[:, 0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params", "'params' has no option with declared choices left"),
        ("nope", "unknown proxy 'nope'"),
        ("intrain(dead=nope)", "unknown dead 'nope'"),
    ],
)
def test_no_grid(text, message):
    with pytest.raises(ValueError, match=message):
        variants(text)
