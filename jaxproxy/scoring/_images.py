"""Layouts of the images and labels that users bring."""

import numpy as np
from jax import Array


def check_layout(images: np.ndarray | Array, what: str) -> None:
    """Raises ValueError unless these are float or integer [N, R, R, 3], not empty.

    Args:
      images: channels last.
      what: they are, for messages.
    """
    shape = np.shape(images)
    if len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3 and shape[0]:
        return
    hint = ""
    if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3]:
        hint = "; channels come last here: give x.transpose(0, 2, 3, 1)"
    elif len(shape) in (3, 4) and shape[1] == shape[2] and shape[3:] in ((), (1,)):
        hint = "; repeat grey images to three channels"
    raise ValueError(f"{what} must be [N, R, R, 3], not {list(shape)}{hint}")


def as_labels(labels: np.ndarray | Array, num: int, what: str) -> np.ndarray:
    """Returns labels integer[N] of integers [N] or [N, 1], or of a one-hot [N, C].

    Args:
      labels: of N images. One-hot rows of numbers or booleans have a single one.
      num: N.
      what: they are, for messages.

    Raises:
      ValueError: another shape, no integers, or rows that are not one-hot.
    """
    labels = np.asarray(labels)
    if labels.shape == (num, 1):
        labels = labels[:, 0]
    is_one_hot = labels.ndim == 2 and len(labels) == num and labels.shape[1] > 1
    if is_one_hot and labels.dtype.kind in "buif":
        wrong = np.flatnonzero(
            ~np.isin(labels, (0, 1)).all(1) | ((labels == 1).sum(1) != 1)
        )
        if len(wrong):
            raise ValueError(
                f"{what} must be [{num}], or one-hot [{num}, classes]; row {wrong[0]} "
                f"is {labels[wrong[0]].tolist()[:10]}"
            )
        return labels.argmax(1)
    if labels.shape != (num,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{what} must be integers [{num}], [{num}, 1] or one-hot [{num}, classes], "
            f"not {labels.dtype}{list(labels.shape)}"
        )
    return labels
