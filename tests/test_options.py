"""Values that users give: whole numbers, and how messages quote them."""

import json

import numpy as np
import pytest

from jaxproxy.options import check_counts, printable, quoted
from jaxproxy.proxies import parse_proxy
from jaxproxy.search import SEARCHES
from jaxproxy.spaces import SPACES, nasbench201, parse_space

SIZED = [name for name in SPACES if name not in ("nasbench_macro",)]


@pytest.mark.parametrize("text", ["nan", "x", "10.5", "10.0", "1e1", "true", "1:2"])
def test_numbers_of_classes_are_whole(text):
    """Checked where the option is read: no other number is a number of classes."""
    with pytest.raises(ValueError, match="'num_classes' of nasbench201 is a whole"):
        parse_space(f"nasbench201(num_classes={text})")
    assert parse_space("nasbench201(num_classes=12)").task.num_outputs == 12


@pytest.mark.parametrize("wrong", [10.0, True, "10", np.nan, 0, -1, 10**9, None])
def test_numbers_of_classes_are_whole_in_python(wrong):
    for make in (SPACES["nasbench201"], SPACES["nasbench_nlp"], SPACES["autoformer"]):
        with pytest.raises(ValueError, match="num_classes is an integer from 1 to"):
            make(num_classes=wrong)
    assert nasbench201(num_classes=np.int64(7)).task.num_outputs == 7  # type: ignore


@pytest.mark.parametrize(
    "text",
    [
        *("nasbench201(resolution=32.0)", "nasbench101(resolution=x)"),
        *("autoformer(resolution=nan)", "mobilenetv2(max_macs=1e9)"),
        "nasbench201_supernet(num_classes=true)",
    ],
)
def test_other_whole_options_of_spaces(text):
    with pytest.raises(ValueError, match="is a whole number, not"):
        parse_space(text)


@pytest.mark.parametrize(
    "text", ["xi_gsnr(batches=2.0)", "swap(images=nan)", "cv(draws=true)"]
)
def test_whole_options_of_proxies(text):
    with pytest.raises(ValueError, match="is a whole number, not"):
        parse_proxy(text)


def test_numpy_integers_are_whole():
    check_counts(n=np.int32(3))
    with pytest.raises(ValueError, match="n is an integer"):
        check_counts(n=np.True_)


def test_long_values_are_cut():
    assert quoted("a" * 200) == repr("a" * 200)
    assert quoted("a" * 201) == repr("a" * 80) + "... (201 characters)"
    assert quoted(3) == "3"
    assert len(quoted(["a" * 1000] * 1000)) < 120


def _message(call) -> str:
    with pytest.raises(ValueError) as failure:
        call()
    return str(failure.value)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("unit", ["x", "|none~0", "1-", "0", "8:", "{"])
def test_messages_about_long_architectures_are_short(name, unit):
    space = SPACES[name]()
    message = _message(lambda: space.from_str(unit * 100_000))
    assert len(message) < 2000
    assert unit.strip("-") in message  # dashes between digits do not count


def test_long_names_of_a_recipe_are_cut():
    name = "n" * 50_000
    recipes = (
        {name: {"op": "nope", "input": ["x"]}},
        {name: {"op": "linear", "input": ["y"]}},
        {name: {"op": "linear", "input": [name]}},
        {name: {"op": "linear", "input": ["x"]}},
    )
    for recipe in recipes:
        text = json.dumps(recipe)
        assert (
            len(_message(lambda text=text: SPACES["nasbench_nlp"]().from_str(text)))
            < 2000
        )


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_a_deep_recipe_is_no_json(text):
    message = _message(lambda: SPACES["nasbench_nlp"]().from_str(text))
    assert "is not JSON" in message


@pytest.mark.parametrize("kind", ["space", "proxy"])
@pytest.mark.parametrize("text", ["{}", "{}(a=1", "intrain({}=1)", "intrain(dead={})"])
def test_messages_about_long_requests_are_short(kind, text):
    parse = {"space": parse_space, "proxy": parse_proxy}[kind]
    text = text.replace("intrain", {"space": "nasbench201", "proxy": "intrain"}[kind])
    text = text.replace("dead", {"space": "num_classes", "proxy": "dead"}[kind])
    assert len(_message(lambda: parse(text.format("z" * 100_000)))) < 2000


def test_what_controls_a_terminal_is_escaped():
    assert printable("plain ü ±") == "plain ü ±"
    assert printable("a\x1b[31mb\nc\x07") == r"a\x1b[31mb\nc\x07"
    assert printable("a\u202eb\x9b\udcff") == r"a\u202eb\x9b\udcff"


def test_searches_take_whole_numbers():
    from jaxproxy.options import make

    with pytest.raises(ValueError, match="'pool' of nsga2 is a whole number"):
        make("nsga2(pool=10.0)", SEARCHES, "method")
