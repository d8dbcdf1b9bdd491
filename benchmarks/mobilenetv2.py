"""The MobileNetV2 space: compilations and seconds, beside PyTorch, and rankings.

``python benchmarks/mobilenetv2.py --out RESULT.json [--torch-python PYTHON]
[--accel accelnasbench_imagenet_mnasnet.csv.gz]`` scores random architectures with
InTrain. Networks of exact widths in eager PyTorch, one thread in a process of its own,
take turns with jaxproxy. Accel-NASBench's networks are not in the space: see
:func:`nearest` for what is scored in their place.
"""

import argparse
import csv
import gzip
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ranking import environment, take_turns, write

from jaxproxy import Fidelity, make_scorer
from jaxproxy.analysis import bootstrap, kendall, spearman
from jaxproxy.spaces import mobilenetv2

SPACE = mobilenetv2()
STRIDES, GENES = (2, 2, 2, 1, 2, 1), 5
STEP, LAST_STEP = 8, 256  # of which widths are multiples

BLOCK = 100  # of architectures; as many are timed beside PyTorch
# Wide enough that no tensor has a single element, whose gradient has no spread.
SPEED = Fidelity(width=4, cells=5, batch_size=8, resolution=32)
RANKED = Fidelity(width=2, cells=3, batch_size=8, resolution=64)
# Of Accel-NASBench's stages 2 to 7, those of MnasNet and EfficientNet-B0.
ACCEL_WIDTHS = (24, 40, 80, 112, 192, 320)
ACCEL_STEM, ACCEL_LAST = 16, 1280


class Stage(NamedTuple):
    """What a word of an architecture string says of a stage."""

    expansion: int
    kernel: int
    inputs: int
    outputs: int
    stride: int
    bottleneck: int
    depth: int


def parse(code: np.ndarray) -> tuple[int, list[Stage], int]:
    """Widths of the first and the last layer, and the stages between."""
    arch = SPACE.to_str(code)
    first, *_ = re.findall(r"K3BNRELU\(3,(\d+),", arch)
    *_, last = re.findall(r"K1BNRELU\(\d+,(\d+),", arch)
    words = re.findall(r"SuperResIDWE(\d+)K(\d+)\(([\d,]+)\)", arch)
    stages = [Stage(int(e), int(k), *map(int, rest.split(","))) for e, k, rest in words]
    return int(first), stages, int(last)


def blocks(code: np.ndarray, unit: int) -> dict[str, Any]:
    """Channels and blocks of an architecture, for PyTorch."""
    stem, stages, last = parse(code)
    found = []
    for stage in stages:
        middle, out = stage.bottleneck, stage.outputs
        for pair in range(stage.depth):
            before = stage.inputs if pair == 0 else out
            stride = stage.stride if pair == 0 else 1
            for s, a, b in ((stride, before, middle), (1, middle, out)):
                channels = (a, stage.expansion * b, b)
                found.append([s, stage.kernel, *(c * unit // STEP for c in channels)])
    ends = {"stem": stem * unit // STEP, "last": last * unit // STEP}
    return {**ends, "blocks": found}


def waste(codes: np.ndarray, resolution: int) -> float:
    """Multiply-adds that are run, all blocks at the widest, over those that exist."""
    choices = SPACE.choices
    stem, last = STEP * choices[0], LAST_STEP * choices[-1]
    widths = [STEP * choices[1 + GENES * stage + 2] for stage in range(len(STRIDES))]
    run = 0
    for code in codes:
        _, stages, _ = parse(code)
        # Stages of stride 1 may be absent: those that are there, by their stride.
        present = iter(stages)
        stage = next(present, None)
        side, width = resolution // 2, stem
        run += 27 * stem * side**2
        for stride, widest in zip(STRIDES, widths, strict=True):
            num, taps = 0, 0
            if stage is not None and stage.stride == stride:
                num, taps = 2 * stage.depth, stage.kernel**2
                stage = next(present, None)
            hidden = 6 * widest
            if stride == 2:
                before, side, num = side**2, side // 2, num - 1
                run += before * width * hidden + side**2 * hidden * (taps + widest)
            run += num * side**2 * hidden * (2 * widest + taps)
            width = widest
        run += side**2 * width * last + (last + 1) * 1000
    sized = mobilenetv2(resolution=resolution)
    return float(run / sized.num_macs(codes).sum())


def timed(num: int, seed: int) -> tuple[dict[str, Any], Any, np.ndarray]:
    """Compilation and throughput of InTrain on random architectures."""
    codes = SPACE.sample(np.random.default_rng(seed), num)
    scorer = make_scorer(
        SPACE, ["intrain"], fidelity=SPEED, devices=1, block_size=BLOCK
    )
    clock, cpu = time.perf_counter(), time.process_time()
    scorer.score(codes[:1])
    first, first_cpu = time.perf_counter() - clock, time.process_time() - cpu
    clock, cpu = time.perf_counter(), time.process_time()
    scores = scorer.score(codes).scores["intrain"]
    record = {
        "fidelity": vars(SPEED),
        "num_archs": num,
        "seed": seed,
        "compilations": scorer.num_traces,
        "first_block_seconds": round(first, 2),
        "first_block_cpu_seconds": round(first_cpu, 2),
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "finite": int(np.isfinite(scores).sum()),
        "macs_run_over_macs": round(waste(codes, SPEED.resolution), 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    return record, scorer, codes


def paired(
    python: str, scorer: Any, codes: np.ndarray, rounds: int, seed: int
) -> dict[str, Any]:
    """Turns of PyTorch and jaxproxy on the same architectures."""
    unit = SPEED.width // 2
    archs = [blocks(code, unit) for code in codes]
    script = Path(__file__).parent / "torch" / "mobilenetv2_torch.py"
    return take_turns(python, script, archs, scorer, codes, rounds=rounds, seed=seed)


def nearest(row: dict[str, str], *, pairs: bool) -> np.ndarray:
    """Code int32[32] in place of a network of Accel-NASBench.

    Kernels, expansions and widths are its own. Its first stage, which does not change
    the resolution, and squeeze and excitation have no place in the space; blocks come
    in pairs, expand by their outputs and end in ReLU. A stage of l blocks is given l
    pairs or, ``pairs``, the fewest that hold them.
    """
    fields = [list(map(int, row[name].split("-"))) for name in "kel"]
    words, width = [f"SuperConvK3BNRELU(3,{ACCEL_STEM},2,1)"], ACCEL_STEM
    for stage, out in enumerate(ACCEL_WIDTHS):
        kernel, expansion, depth = (values[stage + 1] for values in fields)
        depth = (depth + 1) // 2 if pairs else depth
        words.append(
            f"SuperResIDWE{expansion}K{kernel}"
            f"({width},{out},{STRIDES[stage]},{out},{depth})"
        )
        width = out
    words.append(f"SuperConvK1BNRELU({width},{ACCEL_LAST},1,1)")
    return SPACE.from_str("".join(words))


def ranked(path: Path, num: int, seed: int) -> list[dict[str, Any]]:
    """Rank correlations with ImageNet accuracies of Accel-NASBench."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    sample = [rows[i] for i in sorted(rng.choice(len(rows), num, replace=False))]
    accuracy = np.array([float(row["val_top1"]) for row in sample])
    scorer = make_scorer(
        SPACE, ["intrain", "capacity"], fidelity=RANKED, devices=1, block_size=100
    )
    columns = [("params", "its own", [float(row["params_m"]) for row in sample])]
    for label, pairs in (("l pairs", False), ("fewest pairs", True)):
        codes = np.array([nearest(row, pairs=pairs) for row in sample])
        columns.append(("params", label, SPACE.num_params(codes)))
        columns.append(("macs", label, SPACE.num_macs(codes)))
        found = scorer.score(codes).scores
        columns += [(name, label, values[:, 0]) for name, values in found.items()]
    records = []
    for proxy, encoding, values in columns:
        scores = np.asarray(values, float)
        records.append(
            {
                "proxy": proxy,
                "encoding": encoding,
                "num_archs": num,
                "finite": int(np.isfinite(scores).sum()),
                "tau": kendall(scores, accuracy),
                "tau_interval": list(bootstrap(kendall, scores, accuracy, num=200)),
                "rho": spearman(scores, accuracy),
                "rho_interval": list(bootstrap(spearman, scores, accuracy, num=200)),
            }
        )
    return records


def main() -> None:
    """Prints the records, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--torch-python")
    parser.add_argument("--accel", type=Path)
    parser.add_argument("--num", type=int, default=1000, help="0: no timing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranked", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result: dict[str, Any] = {
        **environment(),
    }

    def save() -> None:
        write(args.out, result)

    if args.num:
        result["speed"], scorer, codes = timed(args.num, args.seed)
        save()
        if args.torch_python:
            few = codes[:BLOCK]
            result["paired"] = paired(
                args.torch_python, scorer, few, args.rounds, args.seed
            )
            save()
    if args.accel:
        result["accelnasbench"] = {
            "fidelity": vars(RANKED),
            "weights_seed": 0,
            "sample_seed": args.seed,
            "encoding": " ".join((nearest.__doc__ or "").split()),
            "accuracy": "ImageNet top-1 after a shortened training, one seed",
            "records": ranked(args.accel, args.ranked, args.seed),
        }
        save()
    print(args.out.read_text())


if __name__ == "__main__":
    main()
