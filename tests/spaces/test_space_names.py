"""Spaces by name, with options, from the command line to a stored run."""

import numpy as np
import pytest
from helpers.command_line import command

from jaxproxy.analysis import count_column
from jaxproxy.runs import Run
from jaxproxy.spaces import parse_space

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nasbench202", "unknown space 'nasbench202'; choose from .*'nasbench201'"),
        ("autoformer(size=small", "malformed space"),
        ("autoformer(sise=small)", "unknown option 'sise=small' of autoformer; .*size"),
        ("autoformer(size=huge)", "unknown size 'huge'; choose from .*'small'"),
        ("nasbench201(num_classes=ten)", "num_classes"),
    ],
)
def test_wrong_spaces(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_space(text)


def test_options_besides_the_text() -> None:
    assert parse_space("nasbench201", num_classes=100).task.num_outputs == 100
    same = parse_space("nasbench201(num_classes=100)", num_classes=100)
    assert same.task.num_outputs == 100
    with pytest.raises(ValueError, match="'num_classes' of nasbench201 is given twice"):
        parse_space("nasbench201(num_classes=100)", num_classes=10)
    with pytest.raises(ValueError, match="nasbench_macro has no 'num_classes'"):
        parse_space("nasbench_macro", num_classes=10)


@pytest.mark.parametrize(
    "text", ["transnasbench101_micro(task=jigsaw)", "autoformer(size=small)"]
)
def test_counts_of_a_stored_run_are_those_of_its_space(text: str, tmp_path) -> None:
    out = tmp_path / "run"
    code = command("score", text, "--proxies", "params", "--sample", 5, "--out", out)
    assert code == 0
    run, space = Run.open(out), parse_space(text)
    archs = run.table(["arch"])["arch"].to_pylist()
    expected = space.num_macs(np.stack([space.from_str(arch) for arch in archs]))
    np.testing.assert_array_equal(count_column(run, archs, "macs").values, expected)
    plain = parse_space(text.partition("(")[0])
    try:
        other = plain.num_macs(np.stack([plain.from_str(arch) for arch in archs]))
    except ValueError:  # strings of another size mean nothing there
        return
    assert (other != expected).any()
