"""A sweep on a Ray cluster that loses nodes, against one without Ray.

``python benchmarks/ray_chaos.py --out RESULT.json`` starts a cluster of three nodes on
this machine, scores with an actor on each, kills a node that is not the head while
parts are under way and starts another, up to twice. It compares the bytes of all parts
with those of a sweep in this process.
"""

import argparse
import hashlib
import shutil
import tempfile
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import Fidelity, make_scorer, set_up_jax
from jaxproxy.scoring import sweep, sweep_on_ray
from jaxproxy.spaces import nasbench201

SIZE = Fidelity(width=4, cells=1, batch_size=2, resolution=8)


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file that holds results."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("part-*.parquet"))
    }


def kill_and_start(cluster: Any, path: Path, killed: list[float]) -> None:
    """Kills a node as soon as parts are there, and starts another, twice."""
    for parts in (2, 6):
        while len(digests(path)) < parts:
            time.sleep(0.05)
        node = max(cluster.worker_nodes, key=lambda node: node.node_id)
        cluster.remove_node(node, allow_graceful=False)
        killed.append(round(time.monotonic(), 2))
        cluster.add_node(num_cpus=1)


def main() -> None:
    """Scores twice and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num", type=int, default=15_000)
    parser.add_argument("--part-size", type=int, default=375)
    args = parser.parse_args()
    set_up_jax(1)
    warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
    space = nasbench201()
    codes = space.sample(np.random.default_rng(0), args.num)
    make = partial(make_scorer, space, ["capacity"], fidelity=SIZE, devices=1)
    cut: Any = {"part_size": args.part_size, "deduplicate": False}
    with tempfile.TemporaryDirectory() as folder:
        alone, together = Path(folder, "alone"), Path(folder, "ray")
        start = time.perf_counter()
        sweep(make(), codes, alone, progress=False, **cut)
        seconds = {"alone": round(time.perf_counter() - start, 1)}
        together.mkdir()  # the same manifest, whose date is in every part
        shutil.copy(alone / "_manifest.json", together)
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        killed: list[float] = []
        killer = threading.Thread(
            target=kill_and_start, args=(cluster, together, killed), daemon=True
        )
        killer.start()
        start = time.perf_counter()
        sweep_on_ray(make, codes, together, workers=3, retries=20, **cut)
        seconds["ray"] = round(time.perf_counter() - start, 1)
        same = digests(alone) == digests(together)
        left = [f.name for f in together.rglob("*") if "part" not in f.name]
        num_parts = len([n for n in digests(alone) if "/" not in n])
        ray.shutdown()
        cluster.shutdown()
    result = {
        **environment(),
        "ray": ray.__version__,
        "num_archs": args.num,
        "parts": num_parts,
        "nodes_killed": len(killed),
        "same_bytes": same,
        "other_files": left,
        "seconds": seconds,
    }
    print(result)
    write(args.out, result)


if __name__ == "__main__":
    main()
