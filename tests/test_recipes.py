"""The recipes of docs/recipes are what they say, as far as files can show it."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jaxproxy.scoring import find_worker

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")


def _load(name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / name).read_text("utf-8"))


def _check_pod(job: dict[str, Any]) -> None:
    """Indexed, one worker a pod, the count where the worker looks for it."""
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["command"][:2] == ["jaxproxy", "score"]
    assert "--worker=auto" in container["command"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    last = str(job["completions"] - 1)
    worker = find_worker("auto", environment | {"JOB_COMPLETION_INDEX": last})
    assert worker.count == job["completions"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_indexed_job() -> None:
    job = _load("kubernetes_indexed_job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    _check_pod(spec)
    assert spec["backoffLimitPerIndex"] > 0
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget"}]
    assert fail["action"] == "FailIndex" and 42 in fail["onExitCodes"]["values"]


def test_job_set() -> None:
    job = _load("jobset_tpu_slice.yaml")
    assert (job["apiVersion"], job["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (slice_,) = job["spec"]["replicatedJobs"]
    spec = slice_["template"]["spec"]
    _check_pod(spec)
    pod = spec["template"]["spec"]
    rows, columns = map(
        int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    )
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    assert rows * columns == chips * spec["completions"]


def test_skypilot() -> None:
    task = _load("skypilot.yaml")
    assert task["num_nodes"] > 1 and task["resources"]["use_spot"]
    assert "--worker auto" in task["run"]
    _check_syntax(task["run"])


def test_slurm_array() -> None:
    text = (RECIPES / "slurm_array.sbatch").read_text("utf-8")
    _check_syntax(text)
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert {"requeue", "array", "signal"} <= set(options)
    assert options["signal"].startswith("B:TERM@") and "\nexec jaxproxy" in text
    first, last = map(int, options["array"].split("-"))
    count = last - first + 1
    environment = {
        "SLURM_ARRAY_TASK_ID": str(last),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_COUNT": str(count),
    }
    assert find_worker("auto", environment).index == count - 1


def _check_syntax(script: str) -> None:
    subprocess.run(
        ["bash", "-n"], input=script, text=True, check=True, env=os.environ.copy()
    )
