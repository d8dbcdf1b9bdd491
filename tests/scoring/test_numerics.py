"""Settings of JAX that a user's environment may have: scores mean one thing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.command_line import command, failed, score_counts
from helpers.toy_space import toy

from jaxproxy import make_scorer, rescore
from jaxproxy.meters import weight_norm
from jaxproxy.proxies import Proxy
from jaxproxy.search import SEARCHES, make_genes
from jaxproxy.startup import numerics
from jaxproxy.types import Fidelity

TINY = Fidelity(width=4, cells=1, batch_size=4, resolution=8)
CODES = np.array([[0, 1, 2], [2, 2, 0]])


def _watching(seen: list[str]) -> Proxy:
    """A proxy that notes the precision under which it is traced."""
    meter = weight_norm()

    def score(readings):
        seen.append(jax.config.jax_default_matmul_precision)
        offsets = jnp.ones((3, 1)) + jnp.ones(4)  # fails if ranks are not promoted
        return readings[meter].sum() + offsets.sum()

    return Proxy("watching", meters=(meter,), score=score)


def _scorer(seen: list[str]):
    return make_scorer(toy(), [_watching(seen)], fidelity=TINY, block_size=4, devices=1)


def test_products_are_float32_whatever_jax_is_set_to():
    """And what the fidelity says is another run."""
    seen: list[str] = []
    with jax.default_matmul_precision("bfloat16"):
        scorer = _scorer(seen)
        assert scorer.describe()["fidelity"]["precision"] == "float32"
        scorer.score(CODES)
    assert {*seen} == {"float32"}
    assert scorer.describe() == _scorer([]).describe()


def test_the_precision_is_that_of_products():
    """The context reaches the operations that are traced in it."""
    x = jnp.ones((2, 2))
    with numerics("float32"):
        text = str(jax.make_jaxpr(lambda x: x @ x)(x))
    assert "HIGHEST" in text


def test_seeds_that_are_moved_are_another_run():
    """``JAX_RANDOM_SEED_OFFSET`` draws other weights for the same seeds."""
    before = _scorer([]).describe()["jax"]
    jax.config.update("jax_random_seed_offset", 1)
    try:
        after = _scorer([]).describe()["jax"]
    finally:
        jax.config.update("jax_random_seed_offset", 0)
    assert after == before | {"random_seed_offset": 1}


def test_a_run_of_another_precision_is_not_continued(tmp_path, capsys):
    """What an older manifest does not say was so."""
    assert score_counts(tmp_path, "--sample", 3) == 0
    file = tmp_path / "_manifest.json"
    manifest = json.loads(file.read_text())
    assert manifest["scorer"]["fidelity"].pop("precision") == "float32"
    assert manifest["scorer"]["jax"].pop("random_seed_offset") == 0
    assert "xla_flags" in manifest["environment"]
    file.write_text(json.dumps(manifest))
    assert score_counts(tmp_path, "--sample", 3) == 0
    manifest["scorer"]["fidelity"]["precision"] = "bfloat16"
    file.write_text(json.dumps(manifest))
    capsys.readouterr()
    line = failed(capsys, score_counts(tmp_path, "--sample", 3))
    assert "fidelity.precision is 'bfloat16' there and 'float32' here" in line


def test_ranks_are_promoted_whatever_the_user_debugs(tmp_path, capsys):
    """Scoring, and scores of what is stored, under ``JAX_NUMPY_RANK_PROMOTION``."""
    seen: list[str] = []
    expected = _scorer(seen).score(CODES).scores["watching"]
    with jax.numpy_rank_promotion("raise"):
        with pytest.raises(ValueError, match="rank_promotion"):
            jnp.ones((3, 1)) + jnp.ones(4)[None, None]
        scores = _scorer(seen).score(CODES).scores["watching"]
        run = tmp_path / "run"
        options = ("--proxies", "capacity", "--width", 4, "--cells", 1)
        size = ("--batch-size", 2, "--resolution", 8, "--sample", 3)
        code = command("score", "nasbench201", *options, *size, "--out", run)
        assert code == 0
        again = rescore(run, ["capacity"])["capacity"].to_numpy()
    assert np.array_equal(scores, expected)
    assert np.isfinite(again).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_promote_no_ranks(name):
    """They are traced outside of scorers, where the user's setting holds."""
    genes, more = make_genes(toy()), {}
    if name == "rerank":
        more["features"] = np.random.default_rng(0).random((27, 2))
    with jax.numpy_rank_promotion("raise"):
        search = SEARCHES[name](genes, **more)
        state = jax.eval_shape(search.init, jax.random.key(0))
        state, code = jax.eval_shape(search.ask, state)
        fitness = jnp.zeros(search.scores) if search.scores > 1 else jnp.float32(1)
        jax.eval_shape(search.tell, state, code, fitness)
        assert int(genes.rank(jnp.array([[0, 1, 2]]))[0]) == 5
