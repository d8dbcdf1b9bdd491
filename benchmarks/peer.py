"""Times jaxproxy against eager PyTorch on the same architectures, turn by turn.

``python benchmarks/peer.py --task intrain_b16 --archs 32 --rounds 3 --out FILE.json``

PyTorch is timed twice: as its users run it, and tuned, with images and weights in its
"channels last" layout and glibc told to keep freed memory (together about twice as
fast). One round is a pass of each PyTorch, two single-thread processes with half of
the architectures each (faster there than one process of two threads), then a pass of
jaxproxy, one process with two CPU devices. All are warm, all do the same seeded,
distinct, random architectures of NAS-Bench-201 on inputs of the same size, and only
one of them runs at a time, so that a busy machine slows all alike: trust the ratios.
None reads a disk cache of compiled programs.
"""

import argparse
import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from pairing import (
    ENVIRONMENT,
    Side,
    benchmark,
    conditions,
    halves,
    random_archs,
    write,
)

#: task -> proxy, sizes, and how many architectures make a pass of useful length
TASKS: dict[str, tuple[dict, int]] = {
    "intrain_b16": (
        {
            "proxy": "intrain",
            "width": 16,
            "cells": 5,
            "batch_size": 16,
            "resolution": 32,
        },
        32,
    ),
    "intrain_b64": (
        {
            "proxy": "intrain",
            "width": 16,
            "cells": 5,
            "batch_size": 64,
            "resolution": 64,
        },
        16,
    ),
    "capacity_small": (
        {
            "proxy": "capacity",
            "width": 8,
            "cells": 2,
            "batch_size": 8,
            "resolution": 16,
        },
        1024,
    ),
    "epsinas": (
        {
            "proxy": "epsinas",
            "width": 16,
            "cells": 5,
            "batch_size": 256,
            "resolution": 32,
        },
        8,
    ),
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--archs", type=int, help="default: depends on the task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(ENVIRONMENT), help="time one side alone")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--jax-python", default=sys.executable)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Runs one task and writes its result."""
    args = parse_args()
    settings, default_archs = TASKS[args.task]
    count = args.archs or default_archs
    chosen = random_archs(count, args.seed)
    archs = list(chosen.values())
    job = {**settings, "texts": [settings["proxy"]], "seed": args.seed, "archs": archs}
    names = [args.only] if args.only else list(ENVIRONMENT)
    with ExitStack() as stack:
        sides = {}
        for name in names:  # one after the other: warm up while nothing else is busy
            ours = name == "jax"
            python = args.jax_python if ours else args.torch_python
            share = [list(range(count))] if ours else halves(archs)
            side = Side(name, python, job, share)
            sides[name] = stack.enter_context(closing(side))
        result = benchmark(sides, args.rounds)
    report = {
        "task": {"name": args.task, **settings},
        **conditions(args.seed),
        **result,
        "archs": chosen,
    }
    write(report, args.out)
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
