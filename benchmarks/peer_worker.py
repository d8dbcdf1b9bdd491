"""One side of the paired benchmark: a process that scores its architectures on demand.

Started by ``peer.py`` with the side's name, ``torch``, ``torch_tuned`` or ``jax``. The
first line of standard input is the job in JSON: ``proxy``, ``width``, ``cells``,
``batch_size``, ``resolution``, ``seed`` and ``archs``, official strings. The worker
warms up, answers one line of JSON about itself, then answers every line ``go ROUND``
with one about that pass over the architectures: wall and CPU seconds, peak memory and
scores.
"""

import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Score = Callable[[], list[float]]
CORES = 2  # CPU devices of jaxproxy; PyTorch gets as many processes of one thread


def torch_side(job: dict, *, tuned: bool) -> tuple[Score, dict]:
    """Eager PyTorch on one thread."""
    import peer_torch
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    archs = job.pop("archs")
    score = peer_torch.make_scorer(**job, channels_last=tuned)
    about = {"versions": {"torch": torch.__version__}, "threads": 1}
    return lambda: [score(arch) for arch in archs], about


def jax_side(job: dict) -> tuple[Score, dict]:
    """Jaxproxy on two CPU devices, with as many architectures a call as it likes."""
    import jax

    jax.config.update("jax_num_cpu_devices", CORES)
    import numpy as np

    import jaxproxy
    from jaxproxy.proxies import PROXIES
    from jaxproxy.spaces import SPACES

    space = SPACES["nasbench201"]()
    archs, name, seed = job.pop("archs"), job.pop("proxy"), job.pop("seed")
    start = time.perf_counter()
    scorer = jaxproxy.make_scorer(
        space,
        [PROXIES[name]()],
        fidelity=jaxproxy.Fidelity(**job),
        seeds=[seed],
        devices=CORES,
    )
    seconds = time.perf_counter() - start  # some of the compilation, or none
    codes = np.stack([space.from_str(arch) for arch in archs])

    def score() -> list[float]:
        return scorer.score(codes).scores[name][:, 0].tolist()

    versions = {m.__name__: m.__version__ for m in (jax, jaxproxy)}
    about = {"make_scorer_s": seconds, "scorer": scorer.describe()}
    return score, {"versions": versions, **about}


SIDES: dict[str, Callable[[dict], tuple[Score, dict]]] = {
    "torch": functools.partial(torch_side, tuned=False),
    "torch_tuned": functools.partial(torch_side, tuned=True),
    "jax": jax_side,
}


def peak_rss_mib() -> float:
    """Most memory this process ever held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it forked
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(score: Score) -> dict:
    """One pass: ``seconds`` of wall clock, ``cpu_s`` of all threads, ``scores``."""
    wall, cpu = time.perf_counter(), time.process_time()
    scores = score()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall, "cpu_s": cpu, "scores": scores}


def main(argv: Sequence[str]) -> None:
    """Serves one job until standard input ends."""
    if len(argv) != 2 or argv[1] not in SIDES:
        raise SystemExit(f"usage: {argv[0]} {'|'.join(SIDES)}")
    # Answers own standard output; whatever a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    score, about = SIDES[argv[1]](json.loads(sys.stdin.readline()))
    about["first_pass_s"] = measure(score)["seconds"]
    about["second_pass_s"] = measure(score)["seconds"]
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        if word != "go":
            raise SystemExit(f"expected 'go ROUND', got {line!r}")
        answer = {"round": int(count), **measure(score), "peak_rss_mib": peak_rss_mib()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv)
