"""Proxies evaluated from stored readings equal proxies scored on the network."""

import json

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxproxy import Fidelity, make_scorer, open_run, rescore
from jaxproxy.analysis import _rescore as bank
from jaxproxy.analysis import stored_readings
from jaxproxy.meters import covariance, gradient
from jaxproxy.proxies import parse_proxy
from jaxproxy.runs import merge_run
from jaxproxy.scoring import sweep
from jaxproxy.spaces import nasbench201

CONV, WEIGHTS = covariance("conv"), gradient("weights")
VARIANTS = ["capacity", "intrain", "intrain(coupling=gamma)", "intrain(dead=live)"]


@pytest.fixture(scope="module")
def scorer():
    return make_scorer(
        nasbench201(),
        [*VARIANTS, "params"],
        fidelity=Fidelity(4, 1, 4, 8),
        seeds=2,
        devices=1,
        block_size=8,
    )


@pytest.fixture(scope="module")
def run(scorer, tmp_path_factory):
    codes = scorer.space.sample(np.random.default_rng(0), 11)
    out = tmp_path_factory.mktemp("bank") / "run"
    return sweep(scorer, codes, out, progress=False, part_size=4)


def test_equals_the_scores_of_the_run(run):
    table = rescore(run, VARIANTS).to_pandas()
    expected = run.table().to_pandas()
    assert list(table["arch"]) == list(expected["arch"])
    for name in VARIANTS:
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-5)


def test_a_variant_that_was_never_scored(run):
    table = rescore(run.path, ["intrain(coupling=o)", "intrain(coupling=sum)"])
    gamma = rescore(run, ["intrain(coupling=gamma)"])["intrain(coupling=gamma)"]
    total = table["intrain(coupling=sum)"].to_numpy()
    parts = table["intrain(coupling=o)"].to_numpy() + gamma.to_numpy()
    np.testing.assert_allclose(total, parts, rtol=1e-5)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("intrain(layers=relu)", r"needs the meters \['covariance\(relu\)'\]; .* has"),
        ("params", "is no function of readings"),
    ],
)
def test_what_the_readings_cannot_give(run, proxy, message):
    with pytest.raises(ValueError, match=message):
        rescore(run, [proxy])


def test_an_opened_run_has_scores_and_readings(run):
    opened = open_run(run.path)
    assert opened.scores().equals(run.table())
    assert opened.readings().num_rows == 11 * 2
    with pytest.raises(ValueError, match="is not a run"):
        open_run(run.path / "_readings")


def test_a_merged_run_is_rescored_as_the_run(run, tmp_path):
    merged = merge_run(run, tmp_path / "one.parquet")
    names = [*VARIANTS, "intrain(coupling=o)"]
    found, expected = (rescore(path, names) for path in (merged.out, run.path))
    assert merged.readings is not None
    assert found.column_names == expected.column_names
    assert found.equals(expected)


def test_slots_are_those_of_the_scorer(scorer, run):
    archs, readings = stored_readings(run)
    assert len(archs) == 22
    for meter in (CONV, WEIGHTS):
        slots = readings.slots(meter)
        assert slots == scorer.layout[meter.name]
        assert readings[meter].shape[:2] == (22, len(slots))
    assert {slot.kind for slot in readings.slots(WEIGHTS)} == {"conv_w", "linear_w"}
    assert {slot.channels for slot in readings.slots(CONV)} == {4, 8, 16}


def test_functions_of_readings(run):
    """By column, with everything that readings offer, as a proxy of the same rule."""
    capacity = parse_proxy("capacity").score
    table = rescore(
        run,
        {
            "rule": lambda r: capacity(r) + jnp.log1p(r.count(CONV).astype(float)),
            "wide": lambda r: r.channels(CONV).sum(where=r.present(CONV)),
            "constant": lambda r: 2.0,
            "undefined": lambda r: jnp.log(0.0 * r[WEIGHTS].sum()) * 0,
        },
    )
    archs, readings = stored_readings(run)
    counts = dict(zip(archs, readings.present(CONV).sum(1), strict=True))
    scores = rescore(run, ["capacity"])["capacity"].to_numpy()
    expected = scores + np.log([counts[a] + 1 for a in table["arch"].to_pylist()])
    np.testing.assert_allclose(table["rule"], expected, rtol=1e-5)
    channels = np.asarray(readings.channels(CONV)) * np.asarray(readings.present(CONV))
    wide = dict(zip(archs, channels.sum(1), strict=True))
    assert table["wide"].to_pylist() == [wide[a] for a in table["arch"].to_pylist()]
    assert set(table["constant"].to_pylist()) == {2.0}
    assert np.isnan(table["undefined"]).all()


def test_chunks_change_nothing_and_compile_once(run, monkeypatch):
    traced = []

    def rule(readings):
        traced.append(readings[CONV].shape)
        return readings[CONV].sum()

    whole = rescore(run, {"rule": rule})
    num_traces = len(traced)
    monkeypatch.setattr(bank, "_CHUNK_BYTES", 2000)  # a few rows each
    assert rescore(run, {"rule": rule}).equals(whole)
    assert len(traced) == 2 * num_traces


def test_only_what_is_used_is_read(run, monkeypatch):
    asked = []
    real = type(run).readings_parts

    def readings_parts(self, columns=None):
        asked.append(columns)
        return real(self, columns)

    monkeypatch.setattr(type(run), "readings_parts", readings_parts)
    rescore(run, {"first": lambda r: r[CONV].sum()})
    conv = [CONV.name, f"{CONV.name}_present"]
    assert asked == [None, ["class_arch", *conv]]
    rescore(run, {"all": lambda r: sum(v.sum() for v in r.values.values())})
    weights = [WEIGHTS.name, f"{WEIGHTS.name}_present"]
    assert asked[3] == ["class_arch", *conv, *weights]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda r: r[covariance("bn")].sum(), r"'f'.*no readings of .*'covariance\(bn"),
        (lambda r: r.values["x"].sum(), "cannot evaluate 'f' from .*: 'x'"),
        (lambda r: r[CONV].sum(0), r"'f' gives \[3\] numbers, not one, per arch"),
    ],
)
def test_what_is_no_function_of_these_readings(run, function, message):
    with pytest.raises(ValueError, match=message):
        rescore(run, {"f": function})


def test_a_run_that_kept_only_the_names_of_slots(run, tmp_path):
    """It opens; what reads its readings says why it cannot."""
    for file in run.path.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(run.path)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    for file in (tmp_path / "_readings").iterdir():
        table = pq.read_table(file)
        meters = json.loads(table.schema.metadata[b"jaxproxy_meters"])
        for meter in meters.values():
            meter["slots"] = [slot["name"] for slot in meter["slots"]]
        metadata = {**table.schema.metadata, b"jaxproxy_meters": json.dumps(meters)}
        pq.write_table(table.replace_schema_metadata(metadata), file)
    assert open_run(tmp_path).scores().equals(run.scores())
    with pytest.raises(ValueError, match="before kinds, depths and channels"):
        rescore(tmp_path, ["intrain"])
