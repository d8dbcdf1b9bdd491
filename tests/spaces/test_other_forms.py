"""Architectures as other libraries write them."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxproxy.spaces import Space, parse_space

CELL = (
    "|avg_pool_3x3~0|+|skip_connect~0|none~1|+"
    "|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"
)
PAIRS = (
    "[(('avg_pool_3x3', 0),), (('skip_connect', 0), ('none', 1)), "
    "(('nor_conv_1x1', 0), ('avg_pool_3x3', 1), ('nor_conv_1x1', 2))]"
)
LISTS = PAIRS.replace("(", "[").replace(")", "]").replace(",]", "]")
MODULE = "0110/0001/0001/0000:input|conv3x3-bn-relu|maxpool3x3|output"
MATRIX = "[[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]"
OPERATIONS = "['input', 'conv3x3-bn-relu', 'maxpool3x3', 'output']"
RATIOS, HEADS = [3.5, 4.0] * 6, [3, 4, 4] * 4
PLAIN = f"embed:216|depth:12|heads:{'-'.join('344' * 4)}|mlp:{'-'.join(['3.5-4'] * 6)}"
YAML = f"""SUPERNET:
  MLP_RATIO: 4.0
  NUM_HEADS: 4
SEARCH_SPACE:
  MLP_RATIO:
    - 3.5
    - 4.0
RETRAIN:
  MLP_RATIO:  # of each block
{"".join(f"    - {ratio}{chr(10)}" for ratio in RATIOS)}  NUM_HEADS: {HEADS}
  DEPTH: 12
  EMBED_DIM: 216
"""
CANDIDATE = str((12, *RATIOS, *HEADS, 216))
CONFIG = {
    "mlp_ratio": RATIOS,
    "num_heads": HEADS,
    "embed_dim": [216] * 12,
    "layer_num": 12,
}
AUTO_PROX = {"hidden_dim": 216, "mlp_ratio": RATIOS, "depth": 12, "num_heads": HEADS}
CHAIN = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)"
    "SuperResIDWE6K3(32,48,2,32,1)SuperResIDWE6K3(48,96,2,48,1)"
    "SuperResIDWE6K3(96,128,2,96,1)SuperConvK1BNRELU(128,2048,1,1)"
)
UUID = "uuid9d1dca0f098143aaa1a947acf1100787|"
FORMS = {
    "nasbench201": (
        *(CELL, f"  {CELL}\n", "(4, 0, 3, 1, 4, 3)", "(4,0,3,1,4,3)"),
        *(f"Structure(4 nodes with {CELL})", PAIRS, LISTS),
    ),
    "nasbench201_supernet": (
        CELL.replace("none", "skip_connect"),
        "(4, 0, 3, 0, 4, 3)",
        f"Structure(4 nodes with {CELL.replace('none', 'skip_connect')})",
    ),
    "nasbench101": (
        *(MODULE, f"({MATRIX}, {OPERATIONS})", f"[{MATRIX}, {OPERATIONS}]"),
        f"ModelSpec(matrix={MATRIX}, ops={OPERATIONS})",
        f"api.ModelSpec(np.array({MATRIX}), {OPERATIONS})",
        f"{{'module_adjacency': array({MATRIX}, dtype=int8), "
        f"'module_operations': {OPERATIONS}, 'trainable_parameters': 1}}",
        f"{{'matrix': {MATRIX}, 'ops': {OPERATIONS}}}",
        "(0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 2, 1)",
    ),
    "nasbench_macro": ("01201201", "0-1-2-0-1-2-0-1", "01-201-201", " 01201201\n"),
    "natsbench_sss": ("8:8:8:16:8", " 8:8:8:16:8 ", "8"),
    "transnasbench101_micro": ("64-41414-3_12_103", "64-41414-3_12_103\n"),
    "autoformer": (
        *(PLAIN, YAML, YAML.replace("\n", "\r\n"), str(CONFIG), CANDIDATE),
        *(str(AUTO_PROX), f"sampled model config: {CONFIG}"),
        "DEPTH: 12\nEMBED_DIM: 216\n" + f"NUM_HEADS: {HEADS}\nMLP_RATIO: {RATIOS}",
    ),
    "mobilenetv2": (
        *(CHAIN, CHAIN.replace(")S", ")\nS"), CHAIN.replace("K3(", f"K3({UUID}")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_one_architecture(name: str) -> None:
    space = parse_space(name)
    first, *others = FORMS[name]
    for text in others:
        np.testing.assert_array_equal(space.from_str(text), space.from_str(first), text)


def test_a_module_by_hand() -> None:
    """Two paths, one through a convolution and one through a pooling."""
    space = parse_space("nasbench101")
    written = space.to_str(space.from_str(f"({MATRIX}, {OPERATIONS})"))
    rows, _, names = written.partition(":")
    matrix = np.array([[*map(int, row)] for row in rows.split("/")])
    assert [*zip(*np.nonzero(matrix), strict=True)] == [(0, 1), (0, 2), (1, 6), (2, 6)]
    assert names.split("|")[1:3] == ["conv3x3-bn-relu", "maxpool3x3"]


OTHERS = {
    "nasbench201": {
        "[4, 0, 3, 1, 4, 3]": "several orders of operations; read are",
        "(4, 0, 3, 1, 4)": "no tuple of six numbers from 0 to 4; read are",
        "(4, 0, 3, 1, 4, 5)": "no tuple of six numbers from 0 to 4",
        "(4, 0, 3, 1, 4, True)": "is no architecture; read are",
        "(4, 0, 3, 1, 4, -1)": "no tuple of six numbers from 0 to 4",
        "15625": "official numbers are 0 to 15624, not 15625",
        "-1": "not 3 as in",
        "015": "not 3 as in",
        "1.0": "not 3 as in",
        "[(('x', 0),)]": "has 1 nodes, not 3",
        "Structure(4 nodes with x)": "has 1 nodes, not 3",
        PAIRS.replace("avg", "max"): "unknown operation 'max_pool_3x3'",
        PAIRS.replace("'none', 1", "'none', 0"): "predecessor '0', not 1",
        "(" * 5000: "is no architecture",
        "__import__('os')": "not 3 as in",
        "(__import__('os'),)": "is no architecture",
    },
    "nasbench101": {
        f"({MATRIX}, {OPERATIONS.replace('input', 'in')})": "operations of 4 vertices",
        f"({MATRIX}, {OPERATIONS.replace('max', 'avg')})": "unknown operation 'avgpool",
        f"({MATRIX.replace('1', '2')}, {OPERATIONS})": "is no module; read are",
        f"({MATRIX[:-2]}], {OPERATIONS})": "is no module; read are",
        MATRIX: "is no module; read are",
        "(0, 1, 1, 0)": "is no module",
        "(0, 1, 0, 0, 1, 0)": "operations of 2 vertices",
        "ModelSpec(4)": "is no module",
        f"{{'matrix': {MATRIX}, 'module_adjacency': {MATRIX}, 'ops': 1}}": "no module",
    },
    "nasbench_macro": {
        "1201201": "has 7 digits, not 8 .* a spreadsheet may have dropped zeros",
        "-01201201": "has 9 digits",
        "0--1201201": "has 10 digits",
        "0120120,": "unknown block ','",
    },
    "natsbench_sss": {
        "32768": "official numbers are 0 to 32767, not 32768",
        "08": "has 1 widths, not 5",
    },
    "transnasbench101_micro": {
        "(1, 2, 0, 3, 1, 0)": "not of the micro space: .* tuples have two readings",
        "64-1234-basic": "not of the micro space",
    },
    "autoformer": {
        YAML.replace("216", "200"): "embed '200'",
        str({**CONFIG, "embed_dim": [216] * 11 + [240]}): "several embeddings",
        str({**CONFIG, "num_heads": 3}): "no lists of heads and ratios",
        str({**CONFIG, "layer_num": 13}): "has 12 values of heads, not 13 or 14",
        str({**CONFIG, "mlp_ratio": [3.5000001] * 12}): "mlp '3.5000001'",
        str({**CONFIG, "num_heads": ["3"] * 12}): "value that is no number",
        str({"depth": 12}): "has no embed_dim or hidden_dim; read are",
        YAML.partition("RETRAIN")[0]: "read are",
        YAML.replace("DEPTH: 12", "DEPTH: 12\n  DEPTH: 13"): "read are",
        CANDIDATE[:-6] + ")": "is no architecture; read are",
        "{1, 2}": "is no architecture",
    },
    "mobilenetv2": {
        f"ConvKX({UUID}3,32,3,2)BN(32)RELU(32)": "'ConvKX' is a layer: .*super-blocks",
        "ResBlock(3,8,2,ConvKX(3,8,3,2))": "'ResBlock' is a layer",
        CHAIN.replace("SuperResIDWE6K3(8", "SuperResK3K3(8"): "must be SuperResIDWE#K#",
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_texts_are_refused(name: str) -> None:
    space = parse_space(name)
    for text, message in OTHERS[name].items():
        with pytest.raises(ValueError, match=message):
            space.from_str(text)


def test_naslib_on_the_whole_benchmark(shared_data: Path) -> None:
    """Its tuples and the official numbers, as others have tabulated them."""
    space: Space = parse_space("nasbench201")
    path = shared_data / "nb201_accuracy.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 15625
    for row in rows:
        naslib = f"({', '.join(row['naslib_tuple'].split('-'))})"
        for text in (naslib, row["index"]):
            assert space.to_str(space.from_str(text)) == row["arch_str"]
