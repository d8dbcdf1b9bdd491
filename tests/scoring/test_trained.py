"""Searches on accuracies from outside: every training is kept, none is repeated."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxproxy.scoring import search_trained
from jaxproxy.search import make_genes, nsga2, regularized_evolution, rerank
from jaxproxy.spaces import nasbench201

SPACE = nasbench201()
SEARCH = regularized_evolution(make_genes(SPACE), pool=6, sample=3)


def _worth(arch: str) -> float:
    return 10.0 * arch.count("3x3") + arch.count("skip") + arch.count("1x1") / 8


class _Trainer:
    """Counts what it trains, and is killed at one of them."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.trained: list[str] = []
        self.killed_at = killed_at

    def __call__(self, arch: str) -> float:
        if len(self.trained) == self.killed_at:
            raise KeyboardInterrupt
        self.trained.append(arch)
        return float("nan") if "avg_pool_3x3~0" in arch else _worth(arch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes, list[str]]:
    file, train = tmp_path_factory.mktemp("whole") / "told.csv", _Trainer()
    core = search_trained(SEARCH, SPACE, train, file, budget=20, seed=3)
    return core, file.read_bytes(), train.trained


@pytest.mark.parametrize("torn", [b"", b"|nor_conv_3x3~0|+|nor_c", b"|x|,1"])
def test_a_run_that_was_killed_ends_as_if_it_was_not(
    whole: tuple[Any, bytes, list[str]], tmp_path: Path, torn: bytes
) -> None:
    core, content, trained = whole
    file, first = tmp_path / "told.csv", _Trainer(killed_at=9)
    with pytest.raises(KeyboardInterrupt):
        search_trained(SEARCH, SPACE, first, file, budget=20, seed=3)
    with file.open("ab") as stream:
        stream.write(torn)
    second = _Trainer()
    again = search_trained(SEARCH, SPACE, second, file, budget=20, seed=3)
    assert file.read_bytes() == content
    assert first.trained + second.trained == trained
    np.testing.assert_array_equal(again.code, core.code)
    assert float(again.fitness) == float(core.fitness) == max(map(_worth, trained))


def test_it_is_a_search_and_no_failed_training_is_the_best(
    whole: tuple[Any, bytes, list[str]],
) -> None:
    core, content, trained = whole
    assert len(trained) == 20 == int(core.told)
    assert content.count(b"\n") == 21
    assert content.startswith(b"arch,accuracy\n")
    failed = [arch for arch in trained if "avg_pool_3x3~0" in arch]
    assert content.count(b",nan\n") == len(failed) > 0
    assert "avg_pool_3x3~0" not in SPACE.to_str(np.asarray(core.code))


def test_known_accuracies_are_told(tmp_path: Path) -> None:
    """What others trained comes first, counts, and is the best until it is beaten."""
    good = SPACE.to_str(np.full(6, 3, np.int32))
    file, train = tmp_path / "told.csv", _Trainer()
    file.write_text(f'arch,accuracy\n"{good}",99.5\n')
    search = rerank(make_genes(SPACE), first=2, most=8)
    core = search_trained(search, SPACE, train, file, budget=4)
    assert int(core.told) == 4
    assert len(train.trained) == 3
    assert good not in train.trained
    assert SPACE.to_str(np.asarray(core.code)) == good


def test_other_files_and_searches_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "told.csv"
    with pytest.raises(ValueError, match="budget of at least 1, not 0"):
        search_trained(SEARCH, SPACE, _worth, file, budget=0)
    several = nsga2(make_genes(SPACE))
    with pytest.raises(ValueError, match="told 2 scores, not an accuracy"):
        search_trained(several, SPACE, _worth, file, budget=3)
    file.write_text("name,top1\nx,1\n")
    with pytest.raises(ValueError, match=r"columns \['name', 'top1'\], not"):
        search_trained(SEARCH, SPACE, _worth, file, budget=3)
    file.write_text("arch,accuracy\nx,much\n")
    with pytest.raises(ValueError, match="line 2 of "):
        search_trained(SEARCH, SPACE, _worth, file, budget=3)
    file.write_text("arch,accuracy\nx,1\n")
    with pytest.raises(ValueError, match="'x' has 1 nodes, not 3"):
        search_trained(SEARCH, SPACE, _worth, file, budget=3)
