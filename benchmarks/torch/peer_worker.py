"""One side of the paired benchmark: a process that scores its architectures on demand.

Started by ``pairing.py`` with the side's name, ``torch``, ``torch_tuned`` or ``jax``.
The first line of standard input is the job in JSON: ``proxy``, PyTorch's name of it,
``texts``, the proxies that jaxproxy computes together, the first of which gives the
scores, ``width``, ``cells``, ``batch_size``, ``resolution``, ``seed``, perhaps
``block_size`` of jaxproxy, and ``archs``, official strings. The worker
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
    import proxies_torch
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    archs, _, _ = (job.pop(key, None) for key in ("archs", "texts", "block_size"))
    score = proxies_torch.make_scorer(**job, channels_last=tuned)
    about = {"versions": {"torch": torch.__version__}, "threads": 1}
    return lambda: [score(arch) for arch in archs], about


def jax_side(job: dict) -> tuple[Score, dict]:
    """Jaxproxy on two CPU devices, with as many architectures a call as it likes."""
    import jax
    import numpy as np

    import jaxproxy
    from jaxproxy.proxies import parse_proxy
    from jaxproxy.spaces import SPACES

    jaxproxy.set_up_jax(CORES)
    space, proxies = SPACES["nasbench201"](), [parse_proxy(t) for t in job.pop("texts")]
    archs, seed, block = (job.pop(key, None) for key in ("archs", "seed", "block_size"))
    del job["proxy"]
    fidelity = jaxproxy.Fidelity(**job)
    # Proxies of images come with their own, and have to get as many as PyTorch.
    setups = [meter.setup for proxy in proxies for meter in proxy.meters]
    needy = any(setup.inputs == "images" for setup in setups)
    shape = (fidelity.batch_size, fidelity.resolution, fidelity.resolution, 3)
    images = np.random.default_rng(seed).standard_normal(shape) if needy else None
    start = time.perf_counter()
    scorer = jaxproxy.make_scorer(
        space,
        proxies,
        fidelity=fidelity,
        seeds=[seed],
        images=images,
        devices=CORES,
        block_size=block,
    )
    seconds = time.perf_counter() - start  # some of the compilation, or none
    codes = np.stack([space.from_str(arch) for arch in archs])
    first = proxies[0]

    def score() -> list[float]:
        if first.count is not None:
            return scorer.counts(codes)[first.name].tolist()
        return scorer.score(codes).scores[first.name][:, 0].tolist()

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
