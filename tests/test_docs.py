"""The page of all proxies says what the code does."""

import itertools
import runpy
from pathlib import Path

import pytest

from jaxproxy import meters
from jaxproxy.analysis import ENSEMBLES
from jaxproxy.measure import Setup, TapPass, make_passes
from jaxproxy.proxies import PROXIES, Proxy, parse_proxy
from jaxproxy.scoring import COSTS, cost_class

ROOT = Path(__file__).parents[1]
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))


def test_the_page_is_what_the_code_gives():
    page = (ROOT / "docs" / "proxies.md").read_text("utf-8")
    assert page == GENERATE["page"](), "run python docs/generate.py"
    for name in (*PROXIES, *ENSEMBLES, *meters.METERS):
        assert f"`{name}" in page


@pytest.mark.parametrize("name", PROXIES)
def test_every_listed_choice_is_one(name):
    """And every option that is text lists some, its default among them."""
    for option, value in (PROXIES[name].__kwdefaults__ or {}).items():
        listed = GENERATE["choices"](PROXIES[name], option)
        assert isinstance(value, str | bool) == (str(value) in listed)
        for choice in listed:
            assert parse_proxy(f"{name}({option}={choice})")


def test_what_the_benchmark_times_exists(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "proxies.py"))
    rows = [text for row in benchmark["ROWS"].values() for text in row.texts]
    for text in (*rows, *itertools.chain(*benchmark["SETS"].values())):
        assert parse_proxy(text)
    timed = {parse_proxy(text).name.partition("(")[0] for text in rows}
    assert set(PROXIES) - timed <= set(benchmark["LEFT_OUT"])


def test_markup():
    assert GENERATE["markdown"](r":math:`|a|\,b` is ``c`` of :func:`~d.e`") == (
        r"$\vert a\vert \thinspace b$ is `c` of `e`"
    )
    assert (
        GENERATE["table"](["a"], [["b |c|\n d"]]) == "| a |\n| --- |\n| b \\|c\\| d |"
    )


@pytest.mark.parametrize("name", PROXIES)
def test_cost_follows_from_what_is_run(name):
    """A proxy without a backward pass or a network to differentiate is forward only."""
    proxy = PROXIES[name]()
    runs, cost = make_passes(proxy.meters), cost_class(proxy)
    assert cost in COSTS
    assert (cost == "count") == (proxy.count is not None)
    taps = [run for run in runs if isinstance(run, TapPass)]
    if any(run.backward for run in taps):
        assert COSTS.index(cost) >= COSTS.index("forward and backward")
    elif taps and not any(run.whole for run in taps):
        assert cost == "forward"
    elif runs and not taps:
        assert (name, cost) == ("epsinas", "repeated forward")


def test_the_dearest_meter_decides():
    def proxy(*chosen: meters.Meter) -> Proxy:
        return Proxy("x", meters=chosen, score=lambda r: r[chosen[0]].sum())

    gradient, flow = meters.gradient(), meters.gradient_flow()
    assert cost_class(proxy(meters.covariance())) == "forward"
    assert cost_class(proxy(meters.covariance(), gradient)) == "forward and backward"
    assert cost_class(proxy(gradient.under(Setup(single=True)))) == "per sample"
    classwise = gradient.under(Setup(single=True, loss="logit"))
    assert cost_class(proxy(gradient, classwise)) == "per class"
    assert cost_class(proxy(flow, gradient, classwise)) == "second order"
    # Without a backward pass there is no gradient for each image or class.
    assert cost_class(proxy(meters.logits().under(Setup(single=True)))) == "forward"
