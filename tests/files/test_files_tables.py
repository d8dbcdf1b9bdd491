"""Tables as people, spreadsheets and programs write them."""

import gzip
import json
import math
from pathlib import Path

import pytest

from jaxproxy.files import Cell, parse_numbers, read_archs_column, read_column

TABLE = "arch,acc\na|b,90\nc,91.5\n"
ROWS = [("a|b", 90.0), ("c", 91.5)]
READ = {
    "plain": TABLE,
    "semicolons": TABLE.replace(",", ";"),
    "tabs": TABLE.replace(",", "\t"),
    "decimal commas": "arch;acc\na|b;90\nc;91,5\n",
    "decimal commas and tabs": "arch\tacc\na|b\t90,0\nc\t91,5\n",
    "spaces": "arch, acc\n a|b , 90\n c , 91.5\n",
    "quotes behind spaces": 'arch, acc\n "a|b", "90"\n "c", "91.5"\n',
    "percents": "arch,acc\na|b,90%\nc,91.5 %\n",
    "other case": TABLE.replace("arch", "Architecture").replace("acc", "ACC"),
    "separator": "sep=;\narch;acc\na|b;90\nc;91.5\n",
    "blank lines": "\n" + TABLE.replace("\n", "\n\n"),
    "old line ends": TABLE.replace("\n", "\r"),
    "trailing commas": "arch,acc\na|b,90,,\nc,91.5,\n",
    "another column first": "n;acc;arch\n1,5;90;a|b\n2;91.5;c\n",
}


def _write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def _read(path: Path, column: str = "acc") -> list[tuple[str, float | None]]:
    return [(row.arch, row.value) for row in read_column(path, column).rows]


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_forms(tmp_path: Path, text: str) -> None:
    assert _read(_write(tmp_path, text)) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    path = _write(tmp_path, TABLE.replace("\n", end), encoding)
    assert _read(path) == ROWS
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert _read(path) == ROWS


def test_empty_cells_and_failures(tmp_path: Path) -> None:
    text = "arch,acc\na,90\nb,\nc,None\nd,nan\ne,NA\nf\ng,null\nh,92\n"
    values = [value for _, value in _read(_write(tmp_path, text))]
    assert [v for v in values if v is None or v == v] == [90.0, None, None, 92.0]
    assert [i for i, v in enumerate(values) if v is not None and math.isnan(v)] == [
        *(2, 3, 4, 6)
    ]


REFUSED = {
    "inf": (
        "arch,acc\na,90\nb,inf\n",
        "'inf' in line 3 of .*not finite; write nan for a",
    ),
    "too large": ("arch,acc\na,1e999\n", "'1e999' in line 2 of .* is not finite"),
    "word": ("arch,acc\na,high\n", "'high' in line 2 of .* is not a number"),
    "underscore": ("arch,acc\na,1_000\n", "'1_000' in line 2 .* is not a number"),
    "units": ("arch,acc\na,90%\nb,0.91\n", "'0.91' in line 3 .*'90%' in line 2"),
    "decimal comma": ('arch,acc\na,"90,5"\n', "line 2 .* write a decimal point"),
    "thousands": ("arch;acc\na;93,512\nb;94,100\n", "may be thousands or decimals"),
    "German thousands": ("arch;n\na;1.200\nb;900\n", "'1.200' in line 2 .* thousands"),
    "both marks": (
        "arch;acc\na;93,5\nb;94.5\n",
        "'93,5' in line 2 .* '94.5' in line 3",
    ),
    "many marks": ("arch;acc\na;1,234,5\n", "'1,234,5' in line 2 .* is not a number"),
    "unquoted": ("arch,acc\n(4, 0, 3),84\n", "line 2 .* has 4 cells, but there are 2"),
    "no quotes, comma": ("arch,acc\na,90,5\n", "line 2 of .* has 3 cells"),
    "no arch": ("net,acc\na,1\n", r"no architecture column .*it has \['net', 'acc'\]"),
    "no name": ("arch,acc\n,90\n", "line 2 of .* has a value, but no architecture"),
    "two columns": ("arch,acc,acc\na,1,2\n", "several columns 'acc'"),
    "two cases": ("arch,Acc,ACC\na,1,2\n", "several columns 'acc'"),
    "no text": ("arch,acc\na\0,1\n", "is no text, or UTF-16 without a byte-order mark"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_misread_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    column = "n" if ";n\n" in text else "acc"
    with pytest.raises(ValueError, match=message):
        read_column(_write(tmp_path, text), column)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, "arch,acc\na,1\né,2\n", "latin-1")
    with pytest.raises(ValueError, match=r"line 3 of .* no UTF-8; save it as UTF-8"):
        read_column(path, "acc")
    path.write_bytes(gzip.compress(b"arch,acc\n" * 99)[:-9])
    with pytest.raises(ValueError, match=r"cannot read .*table\.csv"):
        read_column(path, "acc")
    with pytest.raises(ValueError, match=r"cannot read .*directory"):
        read_column(tmp_path, "acc")


def test_an_exact_name_comes_before_another_case(tmp_path: Path) -> None:
    path = _write(tmp_path, "Arch,Acc,acc\na,1,2\n")
    assert _read(path) == [("a", 2.0)]
    assert _read(path, "Acc") == [("a", 1.0)]


def test_index_stands_for_a_missing_column(tmp_path: Path) -> None:
    found = read_column(_write(tmp_path, "Index;acc\n7;90\n"), "acc")
    assert found.by_index and found.rows[0].arch == "7"
    found = read_column(_write(tmp_path, "index,arch,acc\n7,a,90\n"), "acc")
    assert not found.by_index and found.rows[0].arch == "a"


def test_many_digits_survive() -> None:
    texts = ["93.123456789012345", "-.5", "+1e-3", "5e-324", "0,25", "7"]
    cells = [Cell(text, "") for text in texts[:4] + texts[5:]]
    assert parse_numbers(cells) == [93.123456789012345, -0.5, 0.001, 5e-324, 7.0]
    assert parse_numbers([Cell("0,25", "")], decimal_comma=True) == [0.25]


SUITE = {
    "(4, 0, 3)": {"val_accuracy": 84.1, "synflow": {"score": 33.0, "time": 0.1}},
    "(0, 0, 1)": {"val_accuracy": 80.0, "synflow": {"score": 21.5, "time": 0.1}},
}
RECORDS = [{"Arch": a, "val_accuracy": r["val_accuracy"]} for a, r in SUITE.items()]


@pytest.mark.parametrize(
    ("found", "column"),
    [
        (SUITE, "acc"),
        ({"cifar10": SUITE}, "acc"),
        ({"nasbench201": {"cifar10": SUITE}}, "acc"),
        ({"nasbench201": {"cifar10": SUITE, "cifar100": {}}}, "cifar10:acc"),
        (RECORDS, "acc"),
        ({"rows": RECORDS}, "acc"),
    ],
)  # fmt: skip
def test_json(tmp_path: Path, found: object, column: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(found), "utf-8-sig")
    column = column.replace("acc", "val_accuracy")
    assert _read(path, column) == [("(4, 0, 3)", 84.1), ("(0, 0, 1)", 80.0)]
    assert read_column(path, column).name == column


def test_scores_of_json(tmp_path: Path) -> None:
    path = tmp_path / "table.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"cifar10": SUITE}).encode()))
    assert [value for _, value in _read(path, "synflow")] == [33.0, 21.5]
    records = [{"arch": "a", "x": 1}, {"arch": "b"}, {"arch": "c", "x": None}]
    path.write_bytes(json.dumps(records).encode())
    _, missing, failed = (value for _, value in _read(path, "x"))
    assert missing is None
    assert failed is not None and math.isnan(failed)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ('{"a": {"x": Infinity}}', "x", "'inf' in 'a' of .* is not finite"),
        ('{"a": {"x": true}}', "x", "'True' in 'a' of .* is not a number"),
        ('{"a": {"x": [1, 2]}, "b": {"x": 1}}', "x", "2 keys: choose from 'a', 'b'"),
        ('{"c": {"a": {"x": 1}}, "d": {}}', "x", "2 keys: .* as FILE.json:c:x"),
        ('{"c": {"a": {"x": 1}}, "d": {}}', "e:x", "no key 'e': choose from 'c', 'd'"),
        ('{"a": {"x": 1}}', "c:x", "has no key 'c'; it is a table there"),
        ('{"a": {"x": 1}, "a": {"x": 2}}', "x", "repeats the key 'a'"),
        ('{"a": {"x": 1}}', "y", r"no column 'y'; it has \['arch', 'x'\]"),
        ('{"a": 1}', "x", "is no table: it must be a list of records"),
        ("[1, 2]", "x", "is no table"),
        ("null", "x", "is no table"),
        ("{", "x", "is not JSON"),
        ("[" * 100_000, "x", "is not JSON: "),
        ('[{"net": "a", "x": 1}]', "x", "no architecture column"),
    ],
)
def test_other_json_is_refused(
    tmp_path: Path, text: str, column: str, message: str
) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_column(path, column)


def test_architectures_of_a_table() -> None:
    path = Path("x.csv")
    text = 'Arch;acc\n"a;b";1\n\nc;2\n'
    assert read_archs_column(text, path) == [
        ("a;b", "line 2 of x.csv"),
        ("c", "line 4 of x.csv"),
    ]
    assert read_archs_column("a,b\nc,d,e\n", path) is None
    assert read_archs_column("", path) is None
