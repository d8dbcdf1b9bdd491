"""Proxies by name, and variants written as text."""

import pytest

from jaxproxy.measure import Meter
from jaxproxy.meters import covariance, equal_weights_outputs, gradient
from jaxproxy.proxies import PROXIES, Proxy, parse_proxy


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_has_its_name(name: str) -> None:
    for text in (name, f" {name} ", f"{name}()"):
        assert parse_proxy(text).name == name
    assert parse_proxy(name).reference


@pytest.mark.parametrize(
    ("text", "name", "meters"),
    [
        (
            "intrain(layers=relu)",
            "intrain(layers=relu)",
            (covariance("relu"), gradient("weights")),
        ),
        (
            " intrain ( dead = live , params=all, layers=bn ) ",
            "intrain(layers=bn,params=all,dead=live)",
            (covariance("bn"), gradient("all")),
        ),
        (
            "capacity(layers=relu:pool,rows=raw)",
            "capacity(layers=relu:pool,rows=raw)",
            (covariance(("relu", "pool"), rows="raw"),),
        ),
        (
            *("epsinas(mode=stable,weights=1e-7:1)",) * 2,
            (equal_weights_outputs(mode="stable", weights=(1e-7, 1)),),
        ),
    ],
)
def test_variants_by_text(text: str, name: str, meters: tuple[Meter, ...]) -> None:
    proxy = parse_proxy(text)
    assert proxy.name == name
    assert proxy.meters == meters
    assert parse_proxy(name).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intran", "unknown proxy 'intran'; choose from .*'intrain'"),
        ("", "unknown proxy ''"),
        ("intrain(", r"malformed proxy 'intrain\('"),
        ("intrain)", "unknown proxy"),
        ("intrain(dead=live", "malformed"),
        ("intrain(dead=live) ]", "malformed"),
        ("intrain(depht=log)", "unknown option 'depht=log' of intrain; .*'depth'"),
        ("intrain(live)", "unknown option 'live' of intrain"),
        ("intrain(dead=live,dead=paper)", "option 'dead' of intrain is given twice"),
        ("intrain(dead=alive)", "unknown dead 'alive'"),
        ("intrain(layers=3)", "unknown layers 3"),
        ("epsinas(weights=1)", r"'epsinas\(weights=1\)'.*int"),
    ],
)
def test_text_that_is_no_proxy(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_proxy(text)


def test_a_proxy_takes_one_route() -> None:
    with pytest.raises(ValueError, match=r"'x' gives \[\]; give exactly one of"):
        Proxy("x")
    with pytest.raises(ValueError, match=r"'x' gives \['score', 'count'\]"):
        Proxy("x", score=lambda r: r, count=lambda s, c: c)
    with pytest.raises(ValueError, match="'x' has no meters for its score to read"):
        Proxy("x", score=lambda r: r)


def test_truth_values_by_any_spelling() -> None:
    name = "xi_gsnr(accumulate=True)"
    for value in ("true", "True", "TRUE"):
        assert parse_proxy(f"xi_gsnr(accumulate={value})").name == name
    with pytest.raises(
        ValueError, match=r"'accumulate' of xi_gsnr must be True or Fal"
    ):
        parse_proxy("xi_gsnr(accumulate=yes)")


def test_truth_values():
    """As `jaxproxy list` writes them; the text "False" would be true."""
    given: list[object] = []

    def factory(*, flag: bool = False) -> Proxy:
        given.append(flag)
        return Proxy("x", count=lambda space, codes: codes[:, 0])

    for text in ("x(flag=True)", "x(flag=False)"):
        assert parse_proxy(text, {"x": factory}).name == text
    assert given == [True, False]
