"""Published architectures of ``benchmarks``: their counts beside those by hand."""

import sys
from pathlib import Path

import jax
import pytest

import jaxproxy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from real_models import real_models  # noqa: E402

REAL = real_models()


@pytest.mark.parametrize("name", REAL)
def test_counts_are_those_by_hand(name: str) -> None:
    real = REAL[name]
    # Flax itself promotes where it normalises bfloat16.
    with jax.numpy_dtype_promotion("standard"):
        seen = jaxproxy.inspect(real.model, real.x, **real.use)
    assert seen.num_params == real.num_params
    assert seen.num_macs == real.num_macs


def test_a_score_says_how_many_matrices_it_counts() -> None:
    """By hand: a patch, two blocks of six products, a head, a token and positions."""
    real = REAL["vit"]
    proxies = ["capacity", "capacity(layers=convlin)", "l2_norm", "params", "macs"]
    found = jaxproxy.population({"vit": real.model}, real.x, proxies, **real.use)
    counted = {proxy: seen.get("vit") for proxy, seen in found.coverage.items()}
    assert counted["capacity"] is not None and counted["l2_norm"] is not None
    assert counted["capacity"][:2] == (1, 1 + 2 * 6 + 1 + 2)
    assert counted["capacity(layers=convlin)"][:2] == (14, 16)
    assert counted["l2_norm"][:2] == (14, 16)
    assert counted["l2_norm"].missed == ("position", "token")
    assert counted["params"] is counted["macs"] is None
    assert found.partial()["capacity"] == {"vit": "1 of 16 matrices"}
    seen = jaxproxy.inspect(real.model, real.x, **real.use)
    assert "matrices by kind: conv_w 1, linear_w 13, other_w 2" in str(seen)
