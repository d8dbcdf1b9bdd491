"""Published architectures of ``benchmarks``: their counts beside those by hand."""

import sys
from pathlib import Path

import pytest

import jaxproxy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from real_models import real_models  # noqa: E402

REAL = real_models()


@pytest.mark.parametrize("name", REAL)
def test_counts_are_those_by_hand(name: str) -> None:
    real = REAL[name]
    seen = jaxproxy.inspect(real.model, real.x, **real.use)
    assert seen.num_params == real.num_params
    assert seen.num_macs == real.num_macs
