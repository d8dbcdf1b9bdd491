"""Searches that are told several scores, or begin somewhere, live and by command."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import command, failed
from scipy import stats

from jaxproxy.proxies import Proxy
from jaxproxy.runs import Run
from jaxproxy.scoring import LiveSearch, Scorer, make_scorer, search_live
from jaxproxy.search import (
    Budget,
    az_nas_evolution,
    intrain_nas,
    make_genes,
    zennas_evolution,
)
from jaxproxy.spaces import mobilenetv2, nasbench201
from jaxproxy.types import Fidelity

SPACE = nasbench201()
SMALL = Budget(params=600_000)
SEED = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)"
)


def _pools(space: Any, codes: np.ndarray) -> np.ndarray:
    """Poolings, and no number where there are two."""
    pools = (codes == 4).sum(1)
    return np.where(pools == 2, np.nan, pools).astype(float)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Of what counts, and compiles nothing; few poolings are good."""
    proxies = ["params", Proxy("pools", count=_pools, higher_is_better=False), "macs"]
    return make_scorer(SPACE, proxies, fidelity=Fidelity(4, 1, 4, 8))


def _search(scorer: Scorer, out: Path, scores: int = 2) -> LiveSearch:
    genes = make_genes(SPACE, budget=SMALL)
    search = az_nas_evolution(genes, scores=scores, pool=9, history=200)
    return search_live(search, genes, scorer, out, budget=75, together=10)


def test_stopped_anywhere_it_goes_on(scorer: Scorer, tmp_path: Path) -> None:
    """The best is that by ranks of both scores, one of them the lower the better."""
    found = _search(scorer, tmp_path / "whole")
    table = found.run.table().to_pandas()
    assert table["index"].tolist() == list(range(75))
    assert (table["params"] <= 600_000).all()
    good = table[table["pools_valid"]]
    assert 5 < len(good) < 75
    ranks = stats.rankdata(np.stack([good["params"], -good["pools"]], 1), axis=0)
    merits = np.log(ranks / len(good)).sum(1)
    np.testing.assert_allclose(found.core.fitness, merits.max(), rtol=1e-4)
    best = good["arch"].iloc[merits.argmax()]
    assert SPACE.to_str(np.asarray(found.core.code)) == best
    for kept in (0, 1, 4):
        shutil.copytree(tmp_path / "whole", tmp_path / f"{kept}")
        for number in range(kept, 8):
            (tmp_path / f"{kept}" / f"part-{number:06d}.parquet").unlink()
        again = _search(scorer, tmp_path / f"{kept}")
        assert again.run.table().to_pandas().equals(table)
        np.testing.assert_array_equal(again.core.code, found.core.code)
        assert again.core.fitness == found.core.fitness


def test_rejected_proposals_that_count_are_not_scored(
    scorer: Scorer, tmp_path: Path
) -> None:
    genes = make_genes(SPACE, budget=Budget(params=300_000))
    search = zennas_evolution(genes, pool=20, start=(2,) * 6, count_rejected=True)
    found = search_live(
        search, genes, scorer, tmp_path / "run", budget=200, together=20
    )
    table = found.run.table().to_pandas()
    assert (table["params"] <= 300_000).all()
    assert int(found.core.told) == 200
    assert len(table) == 200 - int(found.core.refused) < 190
    assert table["params"].max() == float(found.core.fitness)


def test_more_scores_than_proxies(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"told 4 scores, not \['params', 'pools'"):
        _search(scorer, tmp_path / "run", scores=4)
    # Further proxies are stored and nothing else.
    genes = make_genes(SPACE)
    found = search_live(
        intrain_nas(genes), genes, scorer, tmp_path / "one", budget=3, together=1
    )
    assert {"params", "pools", "macs"} <= set(found.run.table().column_names)


AZ = ("--method", "az_nas_evolution(pool=12,history=100)", "--budget", 48)
PROXIES = ("--proxy", "params", "macs", "num_tensors")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of proxies is that of scores; a cut run goes on."""
    options = (*AZ, *PROXIES, "--together", 16, "--max-params", "0.6M")
    arguments = ("search", "nasbench201", *options, "--out")
    assert command(*arguments, tmp_path / "run", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert set(record["scores"]) == {"params", "macs", "num_tensors"}
    assert record["scores"]["params"] == record["params"] <= 600_000
    assert record["score"] <= 0
    table = Run(tmp_path / "run").table().to_pandas()
    (tmp_path / "run" / "part-000001.parquet").unlink()
    assert command(*arguments, tmp_path / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [record]
    assert Run(tmp_path / "run").table().to_pandas().equals(table)
    assert command(*arguments, tmp_path / "run") == 0
    assert "scores: {'params': " in capsys.readouterr().out


def test_command_of_a_start_and_a_mutation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is asked for first differs from the start in one block."""
    options = ("--start", SEED, "--mutation", "space", "--max-macs", "450M")
    arguments = ("search", "mobilenetv2", "--proxy", "params", "--budget", 24)
    method = ("--method", "zennas_evolution(pool=20)", "--out", tmp_path / "run")
    assert command(*arguments, *options, *method, "--together", 8, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["macs"] <= 450_000_000
    run = Run(tmp_path / "run")
    assert run.manifest["search"]["start"] == SEED
    assert run.manifest["search"]["mutation"] == "space"
    space = mobilenetv2()
    first = space.from_str(run.table(["arch"])["arch"][0].as_py())
    changed = np.flatnonzero(first != space.from_str(SEED))
    # The stem, or a stage and perhaps its second half.
    assert len({(gene - 1) // 5 for gene in changed}) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            PROXIES,
            "intrain_nas is told one score, not ['params', 'macs', 'num_tensors']",
        ),
        (
            ("--method", "az_nas_evolution(scores=2)", *PROXIES),
            "option 'scores' of az_nas_evolution is given twice",
        ),
        (
            ("--method", "az_nas_evolution(scores=2)", "--proxy", "params"),
            "az_nas_evolution(scores=2) is told 2 scores, not ['params']",
        ),
        (("--proxy", "params", "nothing"), "unknown proxy 'nothing'"),
        (("--proxy", "params", "params"), "params"),
        (
            ("--proxy", "params", "--start", SPACE.to_str(np.zeros(6, int))),
            "intrain_nas has no 'start'",
        ),
    ],
)
def test_bad_commands_are_one_line(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ("--budget", 20, "--out", tmp_path / "run")
    code = command("search", "nasbench201", *options, *out)
    assert message in failed(capsys, code)
    assert not (tmp_path / "run").exists()


def test_an_ensemble_is_its_components(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a search that is told one, they are too many; the message names them."""
    options = ("--method", "zennas_evolution", "--proxy", "az_nas", "--budget", 20)
    code = command("search", "nasbench201", *options, "--out", tmp_path / "run")
    line = failed(capsys, code)
    assert "['macs', 'az_expressivity', 'az_progressivity', 'az_trainability']" in line
    assert "['az_nas_evolution', 'nsga2']" in line
