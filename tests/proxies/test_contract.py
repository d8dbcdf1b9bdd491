"""Every proxy of the table keeps the contract of proxies."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.table_scorers import BLOCK_SIZE, SPACE, TABLE, scorer_of

from jaxproxy.meters import covariance
from jaxproxy.proxies import Proxy
from jaxproxy.scoring import BlockScores
from jaxproxy.testing import check_proxy


@pytest.mark.parametrize("name", TABLE)
def test_a_proxy_keeps_its_contract(name: str) -> None:
    if TABLE[name].count is not None:
        check_proxy(TABLE[name], SPACE)
        return
    check_proxy(TABLE[name], SPACE, num=BLOCK_SIZE, scorer=scorer_of(name))


def test_a_program_is_compiled_once() -> None:
    """For full blocks, for others, and for all proxies that share it."""
    scorer = scorer_of("jacov")
    check_proxy(TABLE["jacov"], SPACE, scorer=scorer)
    before = scorer.num_traces
    check_proxy(TABLE["epe_nas"], SPACE, scorer=scorer)
    assert scorer.num_traces == before


METER = covariance()
PROXY = Proxy("given", meters=(METER,), score=lambda readings: readings[METER].sum())


class _Scorer:
    """Gives the sum of a code's genes, changed as a broken proxy would."""

    seeds = (0,)
    layout = {METER.name: ("first", "second")}  # noqa: RUF012

    def __init__(self, change: Callable[[dict[str, Any]], None]) -> None:
        self.change = change

    def score(self, codes: np.ndarray) -> BlockScores:
        scores = codes.sum(1, keepdims=True).astype(float)
        present = np.stack([codes[:, 0] > 0, codes[:, 1] >= 0], axis=1)
        result = {
            "scores": scores,
            "valid": np.isfinite(scores),
            "readings": present[:, None, :, None].astype(np.float32),
            "present": present,
        }
        self.change(result)
        names = [PROXY.name, PROXY.name, METER.name, METER.name]
        return BlockScores(
            *({n: v} for n, v in zip(names, result.values(), strict=True))
        )


def _check(change: Callable[[dict[str, Any]], None], proxy: Proxy = PROXY) -> None:
    check_proxy(proxy, SPACE, scorer=_Scorer(change))  # type: ignore[arg-type]


def _centre(result: dict[str, Any]) -> None:
    result["scores"] -= result["scores"].mean()


def _rank(result: dict[str, Any]) -> None:
    result["scores"] = np.arange(len(result["scores"]), dtype=float)[:, None]


def test_a_sound_scorer_passes() -> None:
    _check(lambda result: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_centre, "given independent of blocks and order"),
        (_rank, "given independent of blocks and order"),
        (lambda r: r.update(scores=r["scores"][:, 0]), "one number a code and seed"),
        (lambda r: r.update(scores=r["scores"] * np.nan), "given is finite somewhere"),
        (lambda r: r.update(valid=r["scores"]), "given has one bool a score"),
        (lambda r: r["scores"].__setitem__(0, np.inf), "valid given is finite"),
        (lambda r: r.update(readings=r["readings"][:, :, :1]), "a row for each slot"),
        (lambda r: r.update(readings=r["readings"] + 1), "is zero where there is no"),
        (lambda r: r.update(present=r["readings"][:, 0, :, 0]), "one bool a slot"),
    ],
)
def test_a_broken_scorer_is_refused(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(ValueError, match=f"contract broken: .*{message}"):
        _check(change)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"higher_is_better": 1}, "higher_is_better of given is a bool"),
        ({"name": "intrain"}, "intrain has a reference"),
        ({"name": "ntk", "reference": "x"}, "name 'ntk'"),  # of which less is better
        ({"name": "ntk( )x", "reference": "x"}, None),
        (
            {"meters": (dataclasses.replace(METER, keep=False),)},
            r"keep of covariance\(conv\)",
        ),
    ],
)
def test_a_broken_proxy_is_refused(fields: dict[str, Any], message: str | None) -> None:
    broken = dataclasses.replace(PROXY, **fields)
    with pytest.raises(ValueError, match=message or "malformed proxy"):
        _check(lambda result: None, broken)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (lambda space, codes: codes, "gives|counts one number a code"),
        (lambda space, codes: codes.sum(1) / 0.0, "is finite"),
        (lambda space, codes: codes.sum(1) - codes.mean(), "independent of blocks"),
    ],
)
def test_a_broken_count_is_refused(count: Any, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        check_proxy(Proxy("given", count=count), SPACE)
