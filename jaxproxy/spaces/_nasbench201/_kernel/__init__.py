"""The fast loops of NAS-Bench-201: a small machine that runs an architecture.

The architecture is data. A stage is one loop over the edges that the architecture
has (``none`` costs nothing), and each step switches to one operation. The gradient is
a second loop over the same edges in reverse. Both are written by hand, for these
reasons:

* differentiating ``lax.switch`` would save the residuals of every branch;
* a carry that passes through a ``switch`` is copied, so branches only read the large
  buffers and the loop writes them;
* a 1x1 convolution followed by normalisation is linear algebra on the moments of its
  input: one matrix product, no pass over the activation between them;
* one Gram product gives BatchNorm its variance and the meters their covariance;
* large buffers are scratch that the caller may keep from one architecture to the next:
  they are never cleared, and what was not written is never read;
* activations that leave the cache are taken in tiles of the batch, in place: each
  operation is a loop over tiles, of no steps if the edge has another, and what is small
  is switched to between the loops;
* readings leave the loop as they are taken, so nothing large is kept for them.

Which path runs: :func:`stage` for BatchNorm by the statistics of the batch, forward or
with one gradient; :func:`slope_stage` for derivatives by the first element of every
parameter, with BatchNorm in evaluation mode. All else (other normalisations, forward
mode, second derivatives, gradients of parameters themselves) is the readable cell of
``spaces/_cell.py``.
"""

from jaxproxy.spaces._nasbench201._kernel._buffers import (
    DST,
    SRC,
    Buffers,
    EdgeParams,
    Table,
    at,
    blank,
    blank_rows,
    edge_table,
    put,
)
from jaxproxy.spaces._nasbench201._kernel._gradients import make_sinks, stage
from jaxproxy.spaces._nasbench201._kernel._operations import make_silence
from jaxproxy.spaces._nasbench201._kernel._slopes import (
    TENSORS,
    make_slope_sinks,
    slope_stage,
)
from jaxproxy.spaces._nasbench201._kernel._slots import Slots

__all__ = [
    "DST",
    "SRC",
    "TENSORS",
    "Buffers",
    "EdgeParams",
    "Slots",
    "Table",
    "at",
    "blank",
    "blank_rows",
    "edge_table",
    "make_silence",
    "make_sinks",
    "make_slope_sinks",
    "put",
    "slope_stage",
    "stage",
]
