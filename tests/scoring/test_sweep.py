"""Sweeps give the same tables whatever happens to them on the way."""

import dataclasses
import json
import os
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from helpers.fake_scorer import FakeScorer, alpha, as_lists, request, toy

from jaxproxy.runs import Run, StoreError
from jaxproxy.runs import _files as files
from jaxproxy.scoring import sweep
from jaxproxy.scoring._balance import blocks, deal
from jaxproxy.spaces import SPACES, Isomorphism

pytestmark = pytest.mark.usefixtures("optimised")

CODES = request()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[str]:
    """Tables of an uninterrupted sweep."""
    out = tmp_path_factory.mktemp("run")
    return as_lists(sweep(FakeScorer(), CODES, out, part_size=10))


@pytest.mark.parametrize("deduplicate", [True, False])
def test_rows_are_the_request(tmp_path, deduplicate):
    """Every row has the scores of its class, its own counts, and honest statistics."""
    scorer = FakeScorer()
    strings = [f"arch{i}" for i in range(len(CODES))]
    run = sweep(
        scorer, CODES, tmp_path, strings=strings, deduplicate=deduplicate, part_size=10
    )
    table = run.table().to_pandas()
    scored = np.sort(CODES) if deduplicate else CODES
    scores = alpha(scored, scorer.seeds)
    assert table["index"].tolist() == list(range(len(CODES)))
    assert table["arch"].tolist() == strings
    assert table["class_arch"].tolist() == [toy().to_str(c) for c in scored]
    np.testing.assert_array_equal(np.stack(table["alpha_seeds"]), scores)
    np.testing.assert_array_equal(table["alpha"], scores.mean(1))
    np.testing.assert_allclose(table["alpha_se"], scores.std(1, ddof=1) / 3**0.5)
    assert table["params"].tolist() == [toy().num_params(c) for c in CODES]
    nan, inf = scored.sum(1) == 4, scored.sum(1) == 5
    assert nan.any()
    assert inf.any()
    assert (table["beta_valid"] == ~(nan | inf)).all()
    assert table["beta"][nan].isna().all()
    assert np.isposinf(table["beta"][inf]).all()
    assert table["beta_se"][nan | inf].isna().all()
    assert np.isposinf(np.stack(table["beta_seeds"][nan])[:, 1]).all()
    assert table["alpha_valid"].all()
    assert table["params_valid"].all()


@pytest.mark.parametrize(("invariant", "scored"), [(True, 21), (False, 172)])
def test_classes_are_merged_only_if_that_changes_no_score(tmp_path, invariant, scored):
    """One proxy that tells isomorphic codes apart is enough; counts do not matter."""
    scorer = FakeScorer()
    beta = SimpleNamespace(name="beta", count=None, invariant=invariant)
    scorer.proxies = (*FakeScorer.proxies[:2], beta)
    run = sweep(scorer, CODES, tmp_path, progress=False)
    assert run.manifest["deduplicate"] is invariant
    assert run.manifest["num_classes"] == scored


def test_readings_are_one_row_per_class_and_seed(tmp_path):
    """They are flat lists, and the metadata have what gives them their shape."""
    scorer = FakeScorer()
    run = sweep(scorer, CODES, tmp_path, part_size=10)
    table = run.readings()
    classes = np.unique(np.sort(CODES), axis=0)
    pairs = zip(table["class_arch"].to_pylist(), table["seed"].to_pylist(), strict=True)
    assert sorted(pairs) == sorted(
        (toy().to_str(c), seed) for c in classes for seed in scorer.seeds
    )
    meters = json.loads(table.schema.metadata[b"jaxproxy_meters"])
    slots = [slot._asdict() for slot in scorer.layout["spectrum"]]
    assert meters["spectrum"] == {"slots": slots, "shape": [5, 2]}
    assert table.schema.field("spectrum").type == pa.list_(pa.float32(), 10)
    row = table.to_pylist()[7]
    code = toy().from_str(row["class_arch"])
    trace = alpha(code[None], (row["seed"],))[0, 0] * np.arange(5)
    assert row["trace"] == trace.tolist()
    assert np.reshape(row["spectrum"], (5, 2)).tolist() == [[x, -x] for x in trace]
    assert row["trace_present"] == (code > 0).tolist()
    assert row["none"] == []


def test_one_seed_has_no_standard_error(tmp_path):
    """It is NaN, not zero, and nothing warns."""
    run = sweep(FakeScorer(seeds=(3,)), CODES[:5], tmp_path, progress=False)
    assert run.table().to_pandas()["alpha_se"].isna().all()


def test_no_readings(tmp_path):
    """Proxies with their own pass leave no readings."""
    run = sweep(FakeScorer(measure=False), CODES, tmp_path, part_size=10)
    assert len(run.table()) == len(CODES)
    with pytest.raises(StoreError, match="keeps no readings"):
        run.readings()


def test_each_class_is_scored_once(tmp_path):
    scorer = FakeScorer()
    sweep(scorer, CODES, tmp_path, part_size=10)
    scored = np.concatenate(scorer.calls)
    assert len(scored) == len(np.unique(scored, axis=0)) == 21
    assert len(np.unique(np.sort(CODES), axis=0)) == 21
    assert [len(call) for call in scorer.calls].count(8) == 2


def test_parts_get_equal_work(tmp_path):
    """Cost spreads within a few percent, and blocks have architectures alike."""
    cost = np.sort(np.random.default_rng(1).gamma(3, 1, 6466))
    groups = deal(len(cost), 1000)
    assert [len(g) for g in groups] == [1000] * 6 + [466]
    assert sorted(np.concatenate(groups)) == list(range(len(cost)))
    for group in groups:
        assert cost[group].mean() == pytest.approx(cost.mean(), rel=0.02)
        cut = blocks(len(group), 64)
        assert sorted(np.concatenate(cut)) == list(range(len(group)))
        assert sorted(len(block) for block in cut)[1:] == [64] * (len(group) // 64)
        assert all(np.ptp(block) == len(block) - 1 for block in cut)
        firsts = [block[0] for block in cut]
        assert firsts != sorted(firsts)


def test_devices_and_blocks_change_nothing(tmp_path, expected):
    """The parts, too, are the same."""
    runs = [
        sweep(scorer, CODES, tmp_path / str(i), part_size=10)
        for i, scorer in enumerate(
            [FakeScorer(4, 2), FakeScorer(12, 4), FakeScorer(5, 3)]
        )
    ]
    for run in runs:
        assert as_lists(run) == expected
    plans = {run.manifest["plan_sha256"] for run in runs}
    assert len(plans) == 1


def test_finished_run_scores_nothing_again(tmp_path, expected):
    """It is only opened."""
    sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    scorer = FakeScorer()
    assert as_lists(sweep(scorer, CODES, tmp_path, part_size=10)) == expected
    assert scorer.calls == []


def test_torn_part_is_found_before_anything_is_scored(tmp_path, expected):
    """Then fsck and resume heal the run."""
    run = sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    part = tmp_path / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-200])
    scorer = FakeScorer()
    with pytest.raises(StoreError, match=r"part-000001.parquet .*fsck"):
        sweep(scorer, CODES, tmp_path, part_size=10)
    assert scorer.calls == []
    assert len(run.fsck()) == 2  # the part and its readings
    assert as_lists(sweep(scorer, CODES, tmp_path, part_size=10)) == expected
    assert len(scorer.calls) == 2


def test_foreign_part_is_refused(tmp_path):
    """A file that someone copied there must not end up in the table."""
    run = sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    part = (tmp_path / "part-000001.parquet").read_bytes()
    (tmp_path / "part-000007.parquet").write_bytes(part)
    with pytest.raises(StoreError, match="not of this request"):
        sweep(FakeScorer(), CODES, run.path, part_size=10)


def test_full_disk_keeps_what_is_finished(tmp_path, expected, monkeypatch):
    """One error of one line; the run resumes when there is space."""
    run = Run(tmp_path)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if len(list(tmp_path.glob("part-*"))) == 1:
            raise OSError(28, os.strerror(28))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device") as caught:
            sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    assert "\n" not in str(caught.value)
    assert run.done() == {0}
    assert run.fsck() == []
    sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    assert as_lists(run) == expected


def test_another_request_or_setting_is_refused(tmp_path):
    """The message names each key and both values."""
    sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    other = FakeScorer(settings={"width": 16}, seeds=(0, 1, 2))
    with pytest.raises(StoreError) as caught:
        sweep(other, CODES, tmp_path, part_size=10)
    assert "scorer.fidelity.width is 8 there and 16 here" in str(caught.value)
    assert "scorer.seeds is [0, 1, 5] there and [0, 1, 2] here" in str(caught.value)
    assert "environment" not in str(caught.value)
    with pytest.raises(StoreError, match="archs_sha256"):
        sweep(FakeScorer(), CODES[::-1], tmp_path, part_size=10)
    with pytest.raises(StoreError, match="part_size is 10 there and 1000 here"):
        sweep(FakeScorer(), CODES, tmp_path)


def test_another_cost_model_is_refused(tmp_path):
    """It would deal other parts, whose rows overlap with those that are finished."""
    space = toy()
    sweep(FakeScorer(), CODES, tmp_path, part_size=10)
    object.__setattr__(space, "cost", lambda codes: -codes.sum(1))
    with pytest.raises(StoreError, match="plan_sha256"):
        sweep(FakeScorer(space=space), CODES, tmp_path, part_size=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codes": CODES[:0]}, "0 codes"),
        ({"strings": ["a"]}, "300 codes, 1 strings"),
        ({"part_size": 0}, "got 0"),
        ({"codes": CODES + 1}, "toy allows 0 to 2"),
    ],
)
def test_mistakes(tmp_path, arguments, message):
    """They leave no folder behind."""
    with pytest.raises(ValueError, match=message):
        sweep(FakeScorer(), **{"codes": CODES, "out": tmp_path / "run", **arguments})
    assert not (tmp_path / "run").exists()


def test_overhead_is_small(tmp_path):
    """15,625 codes, as many as in NAS-Bench-201; measured 0.3 to 0.7 s."""
    space = toy(genes=6, values=5)
    scorer = FakeScorer(block_size=250, space=space, seeds=(0,))
    begin = time.perf_counter()
    run = sweep(scorer, space.enumerate(), tmp_path, deduplicate=False, progress=False)
    assert time.perf_counter() - begin < 5  # the machine may be busy
    assert len(run.table()) == 15_625


def test_classes_of_unequal_members_are_not_merged_unasked(tmp_path):
    """A score of the structure may still see which member it is."""
    scorer = FakeScorer(
        space=dataclasses.replace(
            FakeScorer().space, isomorphism=Isomorphism(np.sort, False)
        )
    )
    scorer.proxies = FakeScorer.proxies[:1]
    assert not sweep(scorer, CODES, tmp_path, progress=False).manifest["deduplicate"]
    assert not SPACES["nasbench101"]().isomorphism.equal_scores
