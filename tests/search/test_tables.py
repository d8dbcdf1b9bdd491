"""Hundreds of searches on tables, and the published numbers that they reproduce."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxproxy.search import (
    Genes,
    Search,
    curves,
    intrain_nas,
    local_search,
    look_up,
    make_genes,
    random_search,
    regularized_evolution,
    reinforce,
    run,
    simulate,
    warm_up,
)
from jaxproxy.spaces import nasbench201

SETS = ("cifar10", "cifar100", "imagenet16")
SMALL = Genes((3, 4, 2))
NODE_FIRST = (1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9)


def test_runs_are_those_of_their_keys() -> None:
    seen = np.random.default_rng(0).random((2, 24)).astype(np.float32)
    search = intrain_nas(SMALL)

    def look(table: np.ndarray) -> Any:
        return lambda code: jnp.asarray(table)[SMALL.rank(code)]

    ranks = simulate(search, SMALL, seen, budget=9, runs=3)
    keys = jax.random.split(jax.random.key(0), 3)
    for table, rows in zip(seen, ranks, strict=True):
        for key, row in zip(keys, rows, strict=True):
            trace = run(search, look(table), 9, key)
            np.testing.assert_array_equal(row, SMALL.rank(trace.codes))


def test_curves_by_hand() -> None:
    """The winner is the first of the best by what was seen, and NaN never wins."""
    seen = np.array([1.0, np.nan, 3.0, 3.0, 2.0])
    truth = np.array([10.0, 99.0, 20.0, 40.0, 30.0])
    found = curves(np.array([[1, 0, 2, 3, 4], [4, 4, 3, 2, 0]]), seen, truth)
    np.testing.assert_array_equal(
        found.honest, [[99, 10, 20, 20, 20], [30, 30, 40, 40, 40]]
    )
    np.testing.assert_array_equal(
        found.oracle, [[99, 99, 99, 99, 99], [30, 30, 40, 40, 40]]
    )


def test_a_table_has_every_architecture_once() -> None:
    codes = np.stack(np.unravel_index(np.arange(24), SMALL.choices), 1)
    shuffled = np.random.default_rng(1).permutation(24)
    value = look_up(SMALL, codes[shuffled], 10.0 * shuffled)
    assert [float(value(code)) for code in codes] == [10.0 * i for i in range(24)]
    with pytest.raises(ValueError, match="23 rows of 23 of the 24"):
        look_up(SMALL, codes[:-1], np.zeros(23))
    with pytest.raises(ValueError, match="24 rows of 23 of the 24"):
        look_up(SMALL, codes[[0, *range(23)]], np.zeros(24))
    with pytest.raises(ValueError, match=r"a table of 24 values is needed, not \[7\]"):
        simulate(random_search(SMALL), SMALL, np.zeros(7), budget=3)
    with pytest.raises(ValueError, match="runs=0"):
        simulate(random_search(SMALL), SMALL, np.zeros(24), budget=3, runs=0)


@pytest.fixture(scope="module")
def table(shared_data: Path) -> dict[str, np.ndarray]:
    """Columns of NAS-Bench-201 by rank."""
    import pandas as pd

    frame = pd.read_csv(shared_data / "nb201_accuracy.csv.gz")
    order = np.argsort(make_genes(nasbench201()).rank(nasbench201().enumerate()))
    return {
        str(name): frame[name].to_numpy()[order]
        for name in frame.columns
        if "_" in name
    }


def _searches() -> dict[str, tuple[Search, int, list[float]]]:
    """Searches, evaluations, and validation and test on three data sets."""
    genes = make_genes(nasbench201())
    nodes = make_genes(nasbench201(), rates=NODE_FIRST)
    return {
        "random": (
            random_search(genes), 85, [90.91, 93.70, 70.91, 71.03, 44.46, 44.58],
        ),
        "evolution, 10": (
            regularized_evolution(nodes, pool=10, sample=10, replacement=True), 85,
            [91.19, 93.98, 71.96, 72.05, 45.13, 45.46],
        ),
        "evolution, 3": (
            regularized_evolution(nodes, pool=10, sample=3, replacement=True), 105,
            [91.15, 93.92, 71.75, 71.86, 45.07, 45.36],
        ),
        "reinforce": (
            reinforce(nodes, learning_rate=0.1), 85,
            [91.12, 93.89, 71.68, 71.78, 45.08, 45.29],
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", _searches())
def test_transfer_from_cifar10(name: str, table: dict[str, np.ndarray]) -> None:
    """NAS-Bench-201's protocol: 12 epochs on CIFAR-10 decide, 2,000 runs."""
    search, budget, expected = _searches()[name]
    seen, genes = table["cifar10_valid_12ep"], make_genes(nasbench201())
    ranks = simulate(search, genes, seen, budget=budget, runs=2000)
    found = [
        curves(ranks, seen, table[f"{data}_{part}"]).honest[:, -1].mean()
        for data in SETS
        for part in ("valid", "test")
    ]
    # Three standard errors of ImageNet16-120's mean of 2,000 runs are .09.
    np.testing.assert_allclose(found, expected, atol=0.09)


def test_own_data_set_at_300_evaluations(table: dict[str, np.ndarray]) -> None:
    """Better than random search by more than its spread, and local search as good."""
    genes, seen = make_genes(nasbench201()), table["cifar10_valid_12ep"]
    means = {}
    for name, search in {
        "random": random_search(genes),
        "evolution": regularized_evolution(genes, pool=10, sample=3, replacement=True),
        "local": local_search(genes),
        "warm": warm_up(
            random_search(genes), genes,
            look_up(genes, nasbench201().enumerate(), _synthetic(table)),
            first=300,
        ),
    }.items():  # fmt: skip
        ranks = simulate(search, genes, seen, budget=300, runs=300)
        means[name] = curves(ranks, seen, table["cifar10_test"]).honest[:, -1].mean()
    assert abs(means["random"] - 93.94) < 0.06
    assert abs(means["evolution"] - 94.20) < 0.06
    assert means["local"] > means["random"] + 0.2
    assert means["warm"] > means["random"] + 0.2


def _synthetic(table: dict[str, np.ndarray]) -> np.ndarray:
    """The truth itself as a proxy, in official order."""
    ranks = make_genes(nasbench201()).rank(nasbench201().enumerate())
    return table["cifar10_test"][np.asarray(ranks)]
