"""The same products by Dense and by Einsum, and einsums that are no layers."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy

X = jnp.zeros((3, 4, 6))
INIT = linen.initializers.lecun_normal()
# Flax takes another fan-in for a kernel of three axes than for the flat one.
WIDE = linen.initializers.normal(0.4)
PROXIES = [
    *("params", "macs", "l2_norm", "snip", "grad_norm", "naswot"),
    "capacity(layers=linear)",
]


class _Mixed(linen.Module):
    """A layer over four tokens, then one over six channels."""

    einsum: bool

    @linen.compact
    def __call__(self, x: Array) -> Array:
        if self.einsum:
            mix = linen.Einsum((4, 5), "btc,tn->bnc", kernel_init=INIT, name="mix")
            y = linen.relu(mix(x))
            up = linen.Einsum((6, 2, 3), "...c,chd->...hd", kernel_init=WIDE, name="up")
            y = up(y)
        else:
            mix = linen.Dense(5, kernel_init=INIT, name="mix")
            y = linen.relu(mix(x.swapaxes(1, 2)).swapaxes(1, 2))
            y = linen.DenseGeneral((2, 3), kernel_init=WIDE, name="up")(y)
        return linen.Dense(5, name="head")(y.reshape(*y.shape[:2], -1).mean(1))


def test_an_einsum_is_the_dense_layer_that_it_equals() -> None:
    models = {"dense": _Mixed(einsum=False), "einsum": _Mixed(einsum=True)}
    found = jaxproxy.population(models, X, PROXIES)
    for proxy in PROXIES:
        assert found.valid[proxy].all(), (proxy, found.refused[proxy])
        dense, einsum = found.scores[proxy]
        assert einsum == pytest.approx(dense, rel=1e-4), proxy
    assert found.scores["params"][1] == (20 + 5) + (36 + 6) + (30 + 5)
    assert found.scores["macs"][1] == 6 * 20 + 5 * 36 + 30
    assert not found.notes["einsum"]
    assert found.coverage["l2_norm"]["einsum"][:2] == (3, 3)


def test_einsums_of_nnx_are_drawn_with_their_fan_in() -> None:
    """Of ``btc,tn->bnc`` the fan-in is t: 2 / t is the variance of He's draw."""

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.mix = nnx.Einsum("btc,tn->bnc", (40, 50), rngs=rngs)

        def __call__(self, x: Array) -> Array:
            return self.mix(x).mean(-1)

    space = jaxproxy.from_nnx(Net, jnp.zeros((2, 40, 3)))
    found = jaxproxy.score(space, proxies=["l2_norm(weights=he_uniform)"])
    (norm,) = next(iter(found.values()))
    assert norm == pytest.approx(np.sqrt(2 / 40 * 40 * 50), rel=0.05)


@pytest.mark.parametrize("text", ["bi,eio->beo", "bei,eio->beo", "tbi,io->bto"])
def test_what_is_no_dense_layer_is_not_taken_for_one(text: str) -> None:
    """Experts have a kernel each; and images must come first."""

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Array) -> Array:
            axes = {"b": len(x), "e": 2, "i": 6, "o": 3, "t": 4}
            given, kernel = text.partition("->")[0].split(",")
            y = jnp.ones([axes[a] for a in given]) * x.mean()
            shape = tuple(axes[a] for a in kernel)
            y = linen.Einsum(shape, text, use_bias=False, name="odd")(y)
            return y.reshape(len(x), -1)

    seen = jaxproxy.inspect(Net(), jnp.zeros((5, 6)))
    known = text == "bi,eio->beo"  # e and o are outputs, as of a wider layer
    assert seen.uncounted == (() if known else ("odd.kernel",))
