"""Layouts of images and labels."""

import numpy as np
import pytest

from jaxproxy.scoring import as_labels, check_layout, score
from jaxproxy.spaces import nasbench201

CLASSES = np.array([3, 0, 9, 3])


@pytest.mark.parametrize(
    "labels",
    [
        CLASSES,
        CLASSES[:, None],
        np.eye(10, dtype=np.int64)[CLASSES],
        np.eye(10, dtype=np.float32)[CLASSES],
        np.eye(10, dtype=bool)[CLASSES],
    ],
)
def test_labels(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(as_labels(labels, 4, "y"), CLASSES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (CLASSES[:3], r"y must be integers \[4\], .* not int64\[3\]"),
        (CLASSES.astype(float), r"not float64\[4\]"),
        (np.eye(10)[CLASSES].T, r"not float64\[10, 4\]"),
        (np.eye(10)[CLASSES] * 2, r"row 0 is \[0.0, 0.0, 0.0, 2.0"),
        (np.eye(10)[CLASSES] * 0, "row 0 is"),
        (np.ones((4, 2), int), r"row 0 is \[1, 1\]"),
        (np.full((4, 2), "a"), "must be integers"),
    ],
)
def test_other_labels_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_labels(labels, 4, "y")


def test_layouts() -> None:
    check_layout(np.zeros((2, 8, 8, 3)), "images")
    for shape, message in (
        ((2, 3, 8, 8), r"images must be .* give x.transpose\(0, 2, 3, 1\)"),
        ((2, 8, 8, 1), "repeat grey images"),
        ((2, 8, 9, 3), r"not \[2, 8, 9, 3\]$"),
        ((0, 8, 8, 3), r"not \[0, 8, 8, 3\]$"),
    ):
        with pytest.raises(ValueError, match=message):
            check_layout(np.zeros(shape), "images")


def test_tuples_are_no_codes() -> None:
    """NASLib's have another order of edges and other numbers of operations."""
    space = nasbench201()
    naslib = (4, 0, 3, 1, 4, 3)
    with pytest.raises(ValueError, match=r"not .*4, 0, 3.* read as text"):
        score(space, [naslib], ["params"])  # pyrefly: ignore
    for refused in (space.to_str, space.num_params):
        with pytest.raises(ValueError, match=r"from_str\('\(4, 0, 3, 1, 4, 3\)'\)"):
            refused(naslib)
    with pytest.raises(ValueError, match="not tuples such as"):
        space.check_codes([naslib])  # pyrefly: ignore
    (params,) = score(space, [str(naslib)], ["params"], fidelity="fast")["params"]
    assert params == 129306  # of the benchmark's table, for this architecture
