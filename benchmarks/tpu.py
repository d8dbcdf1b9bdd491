"""What XLA makes of scorers for a TPU that is not there: compiled, not run.

``python benchmarks/tpu.py --out RESULT.json [--table TABLE.md]`` compiles spaces and
proxies for a slice such as ``v5e:2x2``, each in a process of its own, and writes the
record after each; cases that the file has already are left out. It needs ``libtpu``
beside ``jaxlib``, of the version that ``pip install "jax[tpu]"`` names, on any machine.

It says whether a program compiles, in how many seconds, how many bytes of a device it
needs, that devices do not talk to each other, how precise its products are, and that no
convolution is grouped by architectures. It does not say how fast a program is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

COLLECTIVES = ("all-reduce", "all-gather", "collective-permute", "all-to-all")
CASES = (
    *(("nasbench201", proxy, "fast") for proxy in ("capacity", "intrain")),
    *(
        ("nasbench201", proxy, "fast")
        for proxy in ("naswot", "snip", "synflow", "zen", "grad_norm", "jacov")
    ),
    *(
        (space, proxy, "fast")
        for space in (
            "natsbench_sss", "nasbench_macro", "nasbench101",
            "transnasbench101_micro", "mobilenetv2", "autoformer", "nasbench_nlp",
        )
        for proxy in ("capacity", "intrain")
    ),
    *(
        ("nasbench201", proxy, "fast")
        for proxy in ("grasp", "zico", "fisher", "ntk", "swap", "grad_sign", "vkdnw")
    ),
    *(("nasbench201", proxy, "paper") for proxy in ("intrain", "capacity")),
)  # fmt: skip
COLUMNS = (
    "space", "proxy", "preset", "CPU seconds", "MB",
    "collectives", "below float32", "grouped by lanes",
)  # fmt: skip


def compiled(space: str, proxy: str, preset: str, topology: str, lanes: int) -> dict:
    """Returns what compiling one scorer tells."""
    import jax
    from jax.experimental import topologies

    from jaxproxy import make_scorer
    from jaxproxy.spaces import parse_space

    described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    devices = list(described.devices)

    def lower(lanes: int) -> jax.stages.Lowered:
        scorer = make_scorer(
            parse_space(space),
            [proxy],
            fidelity=preset,
            devices=devices,
            block_size=lanes * len(devices),
            lanes=lanes,
        )
        return scorer.lower()[0]

    clock = time.perf_counter()
    lowered = lower(lanes)
    text, traced = lowered.as_text(), time.perf_counter() - clock
    groups = group_counts(text)
    if groups:  # of the architecture itself, unless one lane has none such
        groups -= group_counts(lower(1).as_text())
    clock, cpu = time.perf_counter(), time.process_time()
    program = lowered.compile()
    seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    stats = program.memory_analysis()
    assert stats is not None
    after = program.as_text()
    parts = ("argument", "output", "temp", "generated_code", "alias")
    return {
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "trace_seconds": round(traced, 1),
        "compile_seconds": round(seconds, 1),
        "compile_cpu_seconds": round(cpu, 1),
        "bytes": {part: getattr(stats, f"{part}_size_in_bytes") for part in parts},
        "collectives": {n: c for n in COLLECTIVES if (c := after.count(f" {n}("))},
        "products": dict(precisions(text)),
        "products_compiled": dict(compiled_precisions(after)),
        "grouped_by_lanes": sum(groups.values()),
    }


def group_counts(text: str) -> Counter[int]:
    """Returns number of groups -> convolutions with more than one, in StableHLO."""
    found = re.findall(r"(?:feature|batch)_group_count = (\d+)", text)
    return Counter(int(number) for number in found if int(number) > 1)


def precisions(text: str) -> Counter[str]:
    """Returns precision -> products and convolutions of StableHLO."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if re.search(r"stablehlo\.(dot_general|convolution)[ (]", line):
            match = re.search(r"precision(?:_config)? = \[([^\]]*)\]", line)
            words = re.findall(r"[A-Z]+", match[1] if match else "DEFAULT")
            found["+".join(sorted(set(words) - {"DOT"})) or "DEFAULT"] += 1
    return found


def compiled_precisions(text: str) -> Counter[str]:
    """Returns precision -> products and convolutions of a compiled program."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if re.search(r"= \S+ (convolution|dot)\(", line):
            match = re.search(r"operand_precision=\{([^}]*)\}", line)
            words = set((match[1] if match else "default").split(","))
            kind = re.search(r"= (\w+)\[", line)
            found[f"{kind[1] if kind else '?'} {'+'.join(sorted(words))}"] += 1
    return found


def in_a_process(case: tuple[str, str, str], args: argparse.Namespace) -> dict:
    """Returns the record of a case, or why there is none."""
    words = [*case, args.topology, str(args.lanes)]
    command = [sys.executable, __file__, "--case", *words]
    options = {"TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu"}
    clock = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **options},
            capture_output=True,
            text=True,
            timeout=args.limit,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {args.limit} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1][:300]}
    seconds = round(time.perf_counter() - clock, 1)
    return json.loads(done.stdout.splitlines()[-1]) | {"process_seconds": seconds}


def table(result: dict[str, Any]) -> str:
    """Returns the records as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for record in result["records"]:
        cells = [record["space"], f"`{record['proxy']}`", record["preset"]]
        if "failed" in record:
            cells += [record["failed"].replace("|", "/"), "", "", "", ""]
        else:
            size = sum(record["bytes"].values()) - 2 * record["bytes"]["alias"]
            below = sum(n for k, n in record["products"].items() if k != "HIGHEST")
            cells += [
                f"{record['compile_cpu_seconds']:.0f}",
                f"{size / 1e6:.0f}",
                str(sum(record["collectives"].values())),
                f"{below} of {sum(record['products'].values())}",
                str(record["grouped_by_lanes"]),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compiles what is not compiled yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--limit", type=int, default=1800, help="seconds of a case")
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        *case, lanes = args.case
        print(json.dumps(compiled(*case, lanes=int(lanes))))
        return
    from ranking import environment, write

    result: dict[str, Any] = {"records": []}
    if args.out.exists():
        result = json.loads(args.out.read_text())
    done = {(r["space"], r["proxy"], r["preset"]) for r in result["records"]}
    for case in CASES:
        if case in done:
            continue
        names = dict(zip(("space", "proxy", "preset"), case, strict=True))
        load = {"load_average": round(os.getloadavg()[0], 1)}
        result["records"].append({**names, **in_a_process(case, args), **load})
        result |= environment() | {"topology": args.topology, "lanes": args.lanes}
        write(args.out, result)
        print(json.dumps(result["records"][-1]), flush=True)
    if args.table:
        args.table.write_text(table(result))


if __name__ == "__main__":
    main()
