"""``fisher`` finds the weights of a layer by name, in whatever order they come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxproxy
from jaxproxy.proxies import fisher
from jaxproxy.scoring import make_scorer
from jaxproxy.spaces import SPACES

WIDTHS = (8, 16, 4, 10)


class Net(nnx.Module):
    """Three layers of given names, and perhaps one that is never called."""

    def __init__(self, names: tuple[str, ...], *, unused: bool = False) -> None:
        self.names, rng = names, np.random.default_rng(0)
        for place, name in enumerate(names):
            layer = nnx.Linear(WIDTHS[place], WIDTHS[place + 1], rngs=nnx.Rngs(0))
            layer.kernel[...] = jnp.asarray(rng.normal(size=layer.kernel.shape) / 3)
            setattr(self, name, layer)
        if unused:
            self.b_unused = nnx.Linear(30, 30, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        for name in self.names[:-1]:
            x = jax.nn.relu(getattr(self, name)(x))
        return getattr(self, self.names[-1])(x)


def test_names_of_layers_change_nothing() -> None:
    """Parameters come in alphabetical order, and activations in that of calls."""
    models = {
        "in order": Net(("a", "b", "c")),
        "backwards": Net(("c", "b", "a")),
        "mixed": Net(("stem", "body", "head")),
        "unused": Net(("a", "b", "c"), unused=True),
    }
    found = jaxproxy.population(models, jnp.zeros((6, 8)), ["fisher", "snip"])
    assert not any(found.refused.values())
    for name, scores in found.scores.items():
        assert scores[0] > 0
        np.testing.assert_allclose(scores, scores[0], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", sorted(set(SPACES) - {"nasbench_nlp"}))
def test_every_layer_of_a_space_has_weights_of_its_name(name: str) -> None:
    """nasbench_nlp has no such layers' activations, and fisher is refused there."""
    scorer = make_scorer(SPACES[name](), ["fisher"], fidelity="fast", devices=1)
    information, sizes, _ = fisher().meters
    layers = {slot.name for slot in scorer.layout[information.name]}
    weights = {slot.name for slot in scorer.layout[sizes.name]}
    assert layers == {weight.removesuffix(".weight") for weight in weights}
