"""What the host does of a run: microseconds and memory of everything but the scoring.

``python benchmarks/host.py --label before --out RESULT.json`` times, for every space,
what is done to each code, and runs of ``params`` and ``macs``, which need no network.
Times are those of the process on one core, so that a busy machine does not matter, and
each space and run is a process of its own, whose peak of memory is known.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ranking import environment, write

from jaxproxy import Fidelity, make_scorer, open_run
from jaxproxy.scoring import sweep
from jaxproxy.spaces import SPACES, Space

NUM, NUM_SINGLE, NUM_MUTANTS, SEED = 10_000, 1000, 200, 0
SMALLEST = {
    "nasbench101": Fidelity(width=4, cells=1, batch_size=1, resolution=8),
    "mobilenetv2": Fidelity(width=4, cells=5, batch_size=2, resolution=32),
}
RUN_SPACES, RUN_SIZES = ("nasbench101", "mobilenetv2"), (10_000, 100_000)
# Several processes share the file, and BLAS would take both cores.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def microseconds(function: Callable[[], Any], num: int, repeats: int = 1) -> float:
    """Returns the time of the process for each of ``num`` items, the least of some."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return round(min(seconds) / num * 1e6, 2)


def functions(name: str) -> dict[str, Any]:
    """Returns microseconds a code, one code after another and all at once."""
    space, rng = SPACES[name](), np.random.default_rng(SEED)
    num = min(NUM, space.num_archs)
    codes = np.zeros((0, len(space.choices)), np.int32)

    def sample() -> None:
        nonlocal codes
        codes = space.sample(rng, num)

    found = {"sample": microseconds(sample, num)}
    some = codes[:NUM_SINGLE]
    archs = [space.to_str(code) for code in codes]
    space.canonical(some[0])  # tables are made once
    few = codes[:NUM_MUTANTS]
    single = {
        "to_str": microseconds(lambda: [space.to_str(c) for c in some], len(some)),
        "from_str": microseconds(
            lambda: [space.from_str(a) for a in archs[: len(some)]], len(some)
        ),
        "canonical": microseconds(
            lambda: [space.canonical(c) for c in some], len(some)
        ),
        "mutate": microseconds(lambda: [space.mutate(rng, c) for c in few], len(few)),
    }
    return {"codes": num, **found, "single": single, "all": at_once(space, codes, rng)}


def at_once(
    space: Space, codes: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Returns microseconds a code of the functions of many codes, where there are."""
    calls: dict[str, Callable[[], Any]] = {"canonical": lambda: space.canonical(codes)}
    if hasattr(space, "to_strs"):  # versions before had none
        archs = space.to_strs(codes)
        calls["to_str"] = lambda: space.to_strs(codes)
        calls["from_str"] = lambda: space.from_strs(archs)
        calls["mutate"] = lambda: space.mutants(rng, codes)
    # Three times: the first is the collector's, who looks through all that was made.
    return {name: microseconds(call, len(codes), 3) for name, call in calls.items()}


def random_codes(space: Space, num: int) -> np.ndarray:
    """Returns random codes int32[num, G] whose genes are independent.

    Unlike ``Space.sample``, repetitions and isomorphic codes are among them.
    """
    rng, kept, count = np.random.default_rng(SEED), [], 0
    while count < num:
        codes = rng.integers(0, space.choices, (10_000, len(space.choices)))
        codes = codes[space.valid(codes)].astype(np.int32)
        kept.append(codes)
        count += len(codes)
    return np.concatenate(kept)[:num]


def run(name: str, num: int, folder: str) -> dict[str, Any]:
    """Returns seconds, memory and files of a run of counts, in a folder."""
    space = SPACES[name]()
    scorer = make_scorer(space, ["params", "macs"])
    # Imports, tables and Arrow's pools do not depend on how much is asked for.
    sweep(scorer, random_codes(space, 2000), f"{folder}/warm", progress=False)
    codes = random_codes(space, num)
    before = resident()
    cpu, wall = time.process_time(), time.perf_counter()
    finished = sweep(scorer, codes, f"{folder}/run", progress=False, deduplicate=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    files = [*Path(f"{folder}/run").rglob("*.parquet")]
    return {
        "archs": num,
        "classes": finished.manifest["num_classes"],
        "seconds": round(cpu, 2),
        "wall_seconds": round(wall, 2),
        "microseconds": round(cpu / num * 1e6, 1),
        "codes_mib": round(codes.nbytes / 2**20, 1),
        "peak_over_codes_mib": round(peak() - before, 1),
        "files": len(files),
        "files_mib": mebibytes(files),
    }


def reading(name: str, num: int) -> dict[str, Any]:
    """Returns what a run with readings takes outside of the compiled program."""
    space = SPACES[name]()
    scorer = make_scorer(space, ["params", "macs", "capacity"], fidelity=SMALLEST[name])
    inside, score_block = 0.0, scorer.score_block

    def timed(codes: np.ndarray) -> Any:
        nonlocal inside
        start = time.process_time()
        scores = score_block(codes)
        inside += time.process_time() - start
        return scores

    with tempfile.TemporaryDirectory() as folder:
        sweep(scorer, random_codes(space, 500), f"{folder}/warm", progress=False)
        scorer.score_block = timed  # type: ignore[method-assign]
        cpu = time.process_time()
        sweep(scorer, random_codes(space, num), f"{folder}/run", progress=False)
        cpu = time.process_time() - cpu
    return {
        "archs": num,
        "fidelity": dataclasses.asdict(SMALLEST[name]),
        "scoring_microseconds": round(inside / num * 1e6, 1),
        "microseconds_outside": round((cpu - inside) / num * 1e6, 1),
    }


def merge(folder: str) -> dict[str, Any]:
    """Returns seconds, memory and size of the file that a run is merged into."""
    try:
        from jaxproxy import merge_run
    except ImportError:  # versions before had none
        return {}
    import pyarrow.parquet  # noqa: F401  (which has memory of its own)

    before, cpu = resident(), time.process_time()
    merged = merge_run(open_run(f"{folder}/run"), f"{folder}/out.parquet")
    return {
        "merge_seconds": round(time.process_time() - cpu, 2),
        "merge_peak_mib": round(peak() - before, 1),
        "merged_mib": mebibytes([merged.out]),
    }


def mebibytes(files: list[Path]) -> float:
    """Returns how large files are together."""
    return round(sum(file.stat().st_size for file in files) / 2**20, 1)


def peak() -> float:
    """Returns the most memory that the process ever had, in MiB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def resident() -> float:
    """Returns the memory that the process has now, in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def in_process(*words: str) -> Any:
    """Returns what this file prints in a process of its own."""
    command = [sys.executable, __file__, *words]
    environment = {**os.environ, **ENVIRONMENT}
    output = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(output.stdout)


def main() -> None:
    """Prints each result, and writes all under a label beside what the file has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", default="after")
    parser.add_argument("--sizes", type=int, nargs="*", default=RUN_SIZES)
    parser.add_argument("--spaces", nargs="*", default=sorted(SPACES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        name, *where = args.only
        if name == "merge":
            print(json.dumps(merge(where[0])))
        elif name == "reading":
            print(json.dumps(reading(where[0], int(where[1]))))
        else:
            print(
                json.dumps(
                    run(name, int(where[0]), where[1]) if where else functions(name)
                )
            )
        return
    known = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    result = known.setdefault(args.label, {"spaces": {}, "runs": {}})
    result |= environment()
    for name in args.spaces:
        result["spaces"][name] = in_process("--only", name)
        print(name, result["spaces"][name], flush=True)
        write(args.out, known)
    for name in RUN_SPACES:
        for num in args.sizes:
            with tempfile.TemporaryDirectory() as folder:
                found = in_process("--only", name, str(num), folder)
                found |= in_process("--only", "merge", folder)
            result["runs"].setdefault(name, {})[str(num)] = found
            print(name, found, flush=True)
            write(args.out, known)
    for name in RUN_SPACES if args.sizes else ():
        found = in_process("--only", "reading", name, str(NUM))
        result["runs"][name]["reading"] = found
        print(name, found, flush=True)
        write(args.out, known)


if __name__ == "__main__":
    main()
