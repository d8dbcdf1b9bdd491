"""What workers of whole spaces in eager PyTorch have in common: they score in turns.

A worker reads a job in JSON from the first line of standard input: ``archs``,
``batch_size``, ``resolution``, ``num_classes`` and ``seed``. Every other line makes it
score all of them with InTrain, each a network of exactly its widths, on one thread, and
answer with seconds and scores. ``ranking.take_turns`` is the other end.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from peer_torch import intrain
from torch import nn

__all__ = ["norm", "serve"]


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm by the statistics of the batch."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


def serve(network: Callable[[dict, int], nn.Module]) -> None:
    """Serves one job until standard input ends.

    Args:
      network: (architecture of the job, number of classes) -> network.
    """
    torch.set_num_threads(1)
    job = json.loads(sys.stdin.readline())
    torch.manual_seed(job["seed"])
    side, classes = job["resolution"], job["num_classes"]
    x = torch.randn(job["batch_size"], 3, side, side)
    y = torch.randint(classes, (job["batch_size"],))
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        scores = [intrain(network(arch, classes), x, y) for arch in job["archs"]]
        answer = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "scores": scores,
            "version": torch.__version__,
        }
        print(json.dumps(answer), flush=True)
