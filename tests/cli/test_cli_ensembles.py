"""Ensembles on the command line: components are stored, the ensemble is shown."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import CODES, SPACE, command, failed

from jaxproxy.analysis import ENSEMBLES, Ensemble, kendall, log_rank_sum
from jaxproxy.proxies import PROXIES, Proxy


@pytest.fixture
def components(monkeypatch):
    """Two proxies, the second lower is better and undefined for some, and ``duo``."""

    def first() -> Proxy:
        return Proxy("first", count=lambda s, c: c.sum(1).astype(float))

    def second() -> Proxy:
        def count(space, codes):
            weighted = codes @ np.arange(1.0, codes.shape[1] + 1)
            return np.where(codes[:, 0] == 0, np.nan, weighted)

        return Proxy("second", count=count, higher_is_better=False)

    monkeypatch.setitem(PROXIES, "first", first)
    monkeypatch.setitem(PROXIES, "second", second)
    duo = Ensemble("duo", ("first", "second"), log_rank_sum, "none")
    monkeypatch.setitem(ENSEMBLES, "duo", duo)
    return duo


@pytest.fixture
def truth(tmp_path) -> str:
    archs = [SPACE.to_str(code) for code in CODES[::2]]
    accuracy = np.random.default_rng(0).normal(size=len(archs))
    path = tmp_path / "truth.csv"
    pd.DataFrame({"arch": archs, "acc": accuracy}).to_csv(path, index=False)
    return f"{path}:acc"


def test_components_are_stored_and_the_ensemble_is_shown(
    components, truth, tmp_path, capsys
):
    out = tmp_path / "run"
    options = ("--proxies", "duo", "first", "params", "--sample", 60, "--out", out)
    assert command("score", "nasbench201", *options, "--truth", truth) == 0
    printed = capsys.readouterr().out
    assert "best by duo (ranked among 60)" in printed
    assert printed.count("duo (ranked among 60)") == 4  # scores, title, header, truth
    table = pd.read_parquet(out)
    manifest = json.loads((out / "_manifest.json").read_text())
    assert manifest["scorer"]["proxies"] == ["second", "first", "params"]
    assert not any(name.startswith("duo") for name in table)

    assert command("correlate", out, "--truth", truth, "--json") == 0
    records = json.loads(capsys.readouterr().out)
    found = [(r["proxy"], r["ranked_among"]) for r in records]
    assert found == [("second", None), ("first", None), ("params", None), ("duo", 60)]
    duo, (path, column) = records[-1], truth.split(":")
    accuracy = pd.read_csv(path).set_index("arch")[column].reindex(table["arch"])
    known = accuracy.notna().to_numpy()
    scores = log_rank_sum(table[["first", "second"]].to_numpy() * [1, -1])
    assert 0 < duo["n"] == known.sum() < 60
    assert duo["coverage"] == 1 > records[0]["coverage"]
    assert duo["tau"] == kendall(scores[known], accuracy.to_numpy()[known])


def test_what_cannot_be_expanded(components, tmp_path, capsys, monkeypatch):
    def score(*names: str) -> int:
        options = ("--proxies", *names, "--sample", 2, "--out", tmp_path / "run")
        return command("score", "nasbench201", *options)

    assert "ensembles [" in failed(capsys, score("duos"))
    assert "each once" in failed(capsys, score("duo", "params", "params"))
    monkeypatch.delitem(PROXIES, "second")
    assert "unknown proxy 'second'" in failed(capsys, score("duo"))
    assert not (tmp_path / "run").exists()


def test_list_names_ensembles(capsys):
    assert command("list") == 0
    printed = capsys.readouterr().out
    assert "vote: synflow jacov snip" in printed
    assert all(ensemble.reference in printed for ensemble in ENSEMBLES.values())
