"""Tables of accuracies: users' files, and a pickle that is not trusted."""

import gzip
import importlib.util
import pickle
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxproxy.analysis import _truth as truth
from jaxproxy.files import ARCH_COLUMNS
from jaxproxy.spaces._nasbench201 import _codes as _nasbench201

TABLE = "index,arch,acc,note\n0,a|b,91.5,x\n1,c,,y\n2,d,nan,z\n3,e,10,\n"


@pytest.fixture
def table(tmp_path):
    """A small table with two usable rows."""
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def test_csv_without_and_with_compression(table):
    """Rows without a value are left out."""
    expected = truth.Truth("acc", {"a|b": 91.5, "e": 10.0})
    assert truth.load_truth(f"{table}:acc") == expected
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(TABLE.encode()))
    assert truth.load_truth(f"{packed}:acc") == expected


def test_byte_order_mark_is_not_part_of_a_name(table):
    """Spreadsheets write one."""
    table.write_text("arch,acc,note\na|b,91.5,x\n", encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"it has \['arch', 'acc', 'note'\]"):
        truth.load_truth(f"{table}:accuracy")


@pytest.mark.parametrize("name", ARCH_COLUMNS)
def test_every_name_of_the_architecture_column(table, name):
    """One test for each documented name."""
    table.write_text(f"{name},acc\na,1\n")
    assert truth.load_truth(f"{table}:acc").accuracy == {"a": 1.0}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("|+~abc012_,", min_size=1), st.floats(0, 100)))
def test_csv_round_trips(table, accuracy):
    """Any string and any number."""
    rows = "".join(f'"{arch}",{value!r}\n' for arch, value in accuracy.items())
    table.write_text("arch_str,acc\n" + rows + '"one more",1\n')
    expected = accuracy | {"one more": 1.0}
    assert truth.load_truth(f"{table}:acc").accuracy == expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        (TABLE, "top1", r"no column 'top1'; it has \['index', 'arch', 'acc', 'note'\]"),
        (TABLE, "note", "'x' in line 2 of .* is not a number"),
        ("net,acc\n", "acc", r"no architecture column .*; it has \['net', 'acc'\]"),
        ("", "acc", r"no architecture column .*; it has \[\]"),
        ("arch,acc\na,1\nb,2\na,3\n", "acc", "line 4 of .* repeats .* 'a'"),
        ("arch,acc\na,\n", "acc", "column 'acc' of .* has no value"),
        ("arch,acc\na\n", "acc", "column 'acc' of .* has no value"),
    ],
)
def test_unusable_tables_are_explained(table, text, column, message):
    """Each kind of mistake has its message."""
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        truth.load_truth(f"{table}:{column}")


@pytest.mark.parametrize("spec", ["", "cifar10", "table.csv", "table.csv:", ":acc"])
def test_other_specifications_are_explained(spec):
    """With the forms that exist."""
    with pytest.raises(ValueError, match=f"unknown truth '{spec}'; write FILE.csv:COL"):
        truth.load_truth(spec)


def test_missing_file_is_named():
    """As it was written."""
    with pytest.raises(ValueError, match=r"there is no file 'no/such.csv'"):
        truth.load_truth("no/such.csv:acc")


def test_official_table(shared_data):
    """The optimum is the published one; missing seeds are left out."""
    path = shared_data / "nb201_accuracy.csv.gz"
    loaded = truth.load_truth(f"{path}:cifar10_test")
    assert len(loaded.accuracy) == 15625
    assert max(loaded.accuracy.values()) == pytest.approx(94.373, abs=1e-3)
    # The third training seed is missing for about half of the architectures.
    partial = truth.load_truth(f"{path}:cifar10_test_trial3")
    assert len(partial.accuracy) == 15625 - 7664


def analog():
    """The table of the package, or a skipped test."""
    if importlib.util.find_spec("analognasbench") is None:
        pytest.skip("the package analog-nasbench is not installed")
    return truth.load_truth("analog")


def test_analog_covers_the_space_without_importing_the_package():
    """Its code never runs."""
    loaded = analog()
    assert loaded.name == "analog"
    strings = {_nasbench201.to_str(code) for code in _nasbench201.enumerate_codes()}
    assert set(loaded.accuracy) == strings
    assert "analognasbench" not in sys.modules


def test_analog_has_the_published_accuracies(shared_data):
    """The same numbers as in a plain table."""
    path = shared_data / "nb201_accuracy.csv.gz"
    expected = truth.load_truth(f"{path}:analognasbench_cifar10_test").accuracy
    assert analog().accuracy == pytest.approx(expected, abs=1.1e-5)


def test_analog_without_the_package_says_how_to_get_it(monkeypatch):
    """And does not download anything."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install analog-nasbench"):
        truth.load_truth("analog")


class Evil:
    """Unpickling it with plain pickle would run a program."""

    def __reduce__(self):
        """Asks the unpickler for a call of ``os.system``."""
        import os

        return os.system, ("echo should never be printed",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps({(0,) * 6: print}),
        pickle.dumps({(0,) * 5: 1.0}),
        pickle.dumps({(0,) * 6: 1.0}),
        pickle.dumps({(7,) * 6: 1.0}),
        pickle.dumps([1, 2]),
        b"\x80\x04canalognasbench.data\nArchitecture\n(I1\ntR.",  # arguments
        b"canalognasbench.data\nArchitecture\n.",
        b"no pickle",
        b"",
    ],
)
def test_any_other_pickle_is_refused(tmp_path, content, capfd):
    """Before it can run anything."""
    path = tmp_path / "data.anb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not the table of analog-nasbench"):
        truth._read_analog(path)
    assert capfd.readouterr().out == ""
