"""A sweep on Ray leaves the run that a sweep without it leaves."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import command, failed

from jaxproxy.runs import Run, StoreError
from jaxproxy.scoring import make_scorer, sweep, sweep_on_ray
from jaxproxy.spaces import SPACES, nasbench201

ray = pytest.importorskip("ray", reason="ray is not installed")


# JAX's, when Ray starts its processes, and Ray's own.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\):RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def _maker(*proxies: str) -> Callable[[], Any]:
    """Of what an actor, which cannot import this file, makes a scorer."""
    space = nasbench201()
    return partial(make_scorer, space, proxies, fidelity="fast", devices=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def _digest(path: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name.startswith("part-")
    }


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_space_can_be_sent(name: str) -> None:
    space = SPACES[name]()
    code = space.sample(np.random.default_rng(0), 1)[0]
    sent = ray.cloudpickle.loads(ray.cloudpickle.dumps(space))
    assert sent.to_strs(code[None]) == space.to_strs(code[None])


def test_it_is_the_run_of_a_sweep(tmp_path: Path) -> None:
    """Begun without Ray, finished with it."""
    codes = nasbench201().sample(np.random.default_rng(0), 2500)
    counts = _maker("params", "macs")
    whole = sweep(counts(), codes, tmp_path / "whole", progress=False)
    run = sweep_on_ray(counts, codes, tmp_path / "ray", workers=2)
    assert run.table().to_pandas().equals(whole.table().to_pandas())
    assert len(_digest(tmp_path / "ray")) == 2
    (tmp_path / "ray" / "part-000000.parquet").unlink()
    before = _digest(tmp_path / "ray")
    run = sweep_on_ray(counts, codes, tmp_path / "ray")
    assert run.table().to_pandas().equals(whole.table().to_pandas())
    assert before.items() <= _digest(tmp_path / "ray").items()
    with pytest.raises(StoreError, match="other settings"):
        sweep_on_ray(_maker("params"), codes, tmp_path / "ray")


def test_what_an_actor_raises_is_raised_here(tmp_path: Path) -> None:
    codes = nasbench201().sample(np.random.default_rng(0), 3)

    make = _maker("params")

    def fails() -> Any:
        import ray

        scorer = make()
        if ray.get_runtime_context().get_actor_id():
            scorer.counts = None  # not callable
        return scorer

    with pytest.raises(TypeError, match="not callable"):
        sweep_on_ray(fails, codes, tmp_path / "run", workers=1)
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        sweep_on_ray(fails, codes, tmp_path / "run", workers=0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("nasbench201", "--proxies", "params", "--sample", 40)
    assert command("score", *options, "--out", tmp_path / "plain") == 0
    assert command("score", *options, "--out", tmp_path / "ray", "--ray", "auto") == 0
    assert "40 architectures" in capsys.readouterr().out
    plain, found = (Run.open(tmp_path / name).table() for name in ("plain", "ray"))
    assert found.to_pandas().equals(plain.to_pandas())


def test_without_ray(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ("nasbench201", "--proxies", "params", "--ray", "local")
    code = command("score", *arguments, "--out", tmp_path / "run")
    assert "pip install 'jaxproxy[ray]'" in failed(capsys, code)
    assert not (tmp_path / "run").exists()
