"""A search that scores what it asks for, stopped anywhere, ends as if it was not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import command, failed

from jaxproxy.runs import Run, StoreError
from jaxproxy.scoring import LiveSearch, Scorer, make_scorer, search_live
from jaxproxy.search import (
    Budget,
    Search,
    intrain_nas,
    local_search,
    make_genes,
    regularized_evolution,
)
from jaxproxy.spaces import nasbench201
from jaxproxy.types import Fidelity

SPACE = nasbench201()
SMALL = Budget(params=400_000)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Of what counts, and compiles nothing."""
    return make_scorer(SPACE, ["params", "macs"], fidelity=Fidelity(4, 1, 4, 8))


def _search(scorer: Scorer, out: Path, **options: Any) -> LiveSearch:
    genes = make_genes(SPACE, budget=SMALL)
    given = {"budget": 45, "together": 10, **options}
    make = given.pop("make", intrain_nas)
    return search_live(make(genes), genes, scorer, out, **given)


def _evolution(genes: Any) -> Search:
    return regularized_evolution(genes, pool=12, sample=4)


@pytest.mark.parametrize("make", [intrain_nas, _evolution])
def test_stopped_anywhere_it_goes_on(make: Any, scorer: Scorer, tmp_path: Path) -> None:
    found = _search(scorer, tmp_path / "whole", make=make)
    table = found.run.table().to_pandas()
    assert table["index"].tolist() == list(range(45))
    assert (table["params"] <= 400_000).all()
    assert table["params"].max() == float(found.core.fitness)
    assert table["params"][-10:].mean() > table["params"][:10].mean()
    for kept in (0, 1, 3):
        shutil.copytree(tmp_path / "whole", tmp_path / f"{kept}")
        for number in range(kept, 5):
            (tmp_path / f"{kept}" / f"part-{number:06d}.parquet").unlink()
        again = _search(scorer, tmp_path / f"{kept}", make=make)
        assert again.run.table().to_pandas().equals(table)
        np.testing.assert_array_equal(again.core.code, found.core.code)


def test_one_by_one_is_the_search_of_the_paper(scorer: Scorer, tmp_path: Path) -> None:
    """Every child differs in one gene from one of the best so far."""
    found = _search(scorer, tmp_path / "run", together=1, budget=30)
    table = found.run.table().to_pandas()
    codes = np.stack([SPACE.from_str(arch) for arch in table["arch"]])
    scores = table["params"].to_numpy()
    for number in range(1, 30):
        best = np.argsort(-scores[:number], kind="stable")[:10]
        distance = (codes[best] != codes[number]).sum(1)
        assert 1 in distance


def test_what_cannot_be_is_said(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="budget=0"):
        _search(scorer, tmp_path / "a", budget=0)
    with pytest.raises(ValueError, match="told one by one: give together=1"):
        _search(scorer, tmp_path / "a", make=local_search)
    genes = make_genes(SPACE, budget=Budget(params=1))
    with pytest.raises(ValueError, match="none of 10240 random architectures of nasb"):
        search_live(
            intrain_nas(genes), genes, scorer, tmp_path / "a", budget=9, together=10
        )
    assert not (tmp_path / "a").exists()
    _search(scorer, tmp_path / "b", seed=1)
    with pytest.raises(StoreError, match=r"search.seed"):
        _search(scorer, tmp_path / "b", seed=2)
    manifest = Run(tmp_path / "b").manifest
    assert manifest["search"] == {"seed": 1, "together": 10}
    assert manifest["environment"]["budget"] == 45


@pytest.mark.parametrize("make", [intrain_nas, _evolution])
def test_a_larger_budget_goes_on(make: Any, scorer: Scorer, tmp_path: Path) -> None:
    """As if it had been the larger all along, half a part included."""
    whole = _search(scorer, tmp_path / "whole", make=make, budget=78)
    for budget in (3, 30, 45, 78):
        found = _search(scorer, tmp_path / "grows", make=make, budget=budget)
        assert len(found.run.table()) == int(found.core.told) == budget
    assert found.run.table().to_pandas().equals(whole.run.table().to_pandas())
    np.testing.assert_array_equal(found.core.code, whole.core.code)
    for less in (77, 70, 9):
        with pytest.raises(StoreError, match=f"more than budget={less} evaluations"):
            _search(scorer, tmp_path / "grows", make=make, budget=less)
    assert found.run.table().to_pandas().equals(whole.run.table().to_pandas())


def test_a_run_of_an_earlier_version_goes_on(scorer: Scorer, tmp_path: Path) -> None:
    """Its manifest has the budget among what the search is."""
    whole = _search(scorer, tmp_path / "whole", budget=60)
    _search(scorer, tmp_path / "old", budget=45)
    file = tmp_path / "old" / "_manifest.json"
    manifest = json.loads(file.read_text())
    manifest["search"]["budget"] = manifest["environment"].pop("budget")
    file.write_text(json.dumps(manifest))
    found = _search(scorer, tmp_path / "old", budget=60)
    assert found.run.table().to_pandas().equals(whole.run.table().to_pandas())


def test_local_search_one_by_one(scorer: Scorer, tmp_path: Path) -> None:
    found = _search(scorer, tmp_path / "run", make=local_search, together=1)
    table = found.run.table().to_pandas()
    assert (table["params"] <= 400_000).all()
    assert table["params"].max() > table["params"][0]


ARGUMENTS = ("nasbench201", "--proxy", "params", "--budget", 40, "--together", 16)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One strict record; the run is one that other commands read."""
    options = ("--max-params", "0.4M", "--max-macs", "60M", "--out", tmp_path / "run")
    assert command("search", *ARGUMENTS, *options, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert set(record) == {"arch", "score", "params", "macs", "evaluations"}
    code = SPACE.from_str(record["arch"])
    assert record["score"] == record["params"] == SPACE.num_params(code) <= 400_000
    assert record["macs"] == SPACE.num_macs(code) <= 60_000_000
    assert record["evaluations"] == 40
    truth = tmp_path / "truth.csv"
    archs = sorted(set(Run(tmp_path / "run").table(["arch"])["arch"].to_pylist()))
    truth.write_text("arch,acc\n" + "".join(f"{a},{i}\n" for i, a in enumerate(archs)))
    assert command("best-of", tmp_path / "run", "--truth", f"{truth}:acc") == 0
    assert "ceiling" in capsys.readouterr().out
    assert command("search", *ARGUMENTS, *options) == 0
    printed = capsys.readouterr().out
    assert f"arch: {record['arch']}" in printed
    assert "proposals were refused" in printed


def test_the_score_is_the_stored_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search knows it in float32, which is too coarse for multiply-adds."""
    arguments = ("nasbench201", "--proxy", "macs", "--budget", 32, "--together", 16)
    assert command("search", *arguments, "--out", tmp_path / "run", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["score"] == record["macs"]


def test_a_cost_table_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cost.csv"
    codes = SPACE.sample(np.random.default_rng(0), 5000)
    rows = [f"{SPACE.to_str(c)},{i % 7}\n" for i, c in enumerate(codes)]
    path.write_text("arch,ms\n" + "".join(rows))
    options = ("--max-latency", f"{path}:ms:2.5", "--out", tmp_path / "run")
    assert command("search", *ARGUMENTS, *options, "--json") == 0
    table = dict(row.strip().rsplit(",", 1) for row in rows)
    found = Run(tmp_path / "run").table(["arch"])["arch"].to_pylist()
    assert all(int(table[arch]) <= 2 for arch in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "hill"), "unknown method 'hill'; choose from ['az_nas_evol"),
        (("--method", "intrain_nas(k=0)"), "k is an integer from 1 to 1000000, not 0"),
        (
            ("--method", "intrain_nas(k=2.5)"),
            "'k' of intrain_nas is a whole number, not",
        ),
        (("--method", "intrain_nas(k=true)"), "not True"),
        (("--method", "random_search(x=1)"), "choose from []"),
        (("--method", "reinforce(learning_rate=inf)"), "must be positive, not inf"),
        (
            ("--method", "regularized_evolution(move=parent,proxy=3)"),
            "proxy is a function of a code, not 3",
        ),
        (("--max-params", "1e400"), "--max-params is too large: '1e400'"),
        (("--max-params", "many"), "--max-params is a number such as 1200000"),
        (("--max-params", "1"), "is allowed: what is asked for is too rare"),
        (("--max-latency", "x.csv:ms:3"), "there is no file 'x.csv'"),
        (("--max-latency", "a.csv:ms:slow"), "FILE.csv:COLUMN:VALUE, not 'a.csv:ms"),
        (("--proxy", "votes"), "unknown proxy 'votes'"),
        (("--proxy", "vote"), "intrain_nas is told one score, not ['synflow', 'jacov'"),
        (("--start", "|a|"), "has 1 nodes, not 3"),
        (("--mutation", "space"), "nasbench201 has no mutation of its own"),
        (("--budget", "0"), "budget=0"),
    ],
)
def test_bad_commands_are_one_line(
    options: tuple[str, str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = command("search", *ARGUMENTS, *options, "--out", tmp_path / "run")
    assert message in failed(capsys, code)
