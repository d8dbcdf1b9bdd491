"""A score that means nothing is not valid, and says why."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import Array

import jaxproxy

X = jnp.zeros((4, 6))
ZEROS = linen.initializers.zeros


class _Perceptron(linen.Module):
    """26 weights that are not in the last layer, of which there are 8."""

    head: Any = linen.initializers.lecun_normal()
    between: Callable[[Array], Array] = staticmethod(lambda x: x)
    scale: Any = linen.initializers.ones
    outputs: int = 2
    norm: bool = False

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.Dense(4, use_bias=False)(x)
        if self.norm:
            x = linen.BatchNorm(use_running_average=False)(x)
        x = jax.nn.relu(x) * self.param("scale", self.scale, (4,))
        return linen.Dense(self.outputs, use_bias=False, kernel_init=self.head)(
            self.between(x)
        )


class _Wide(linen.Module):
    """A frozen layer of fewer weights than the other has."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = jax.lax.stop_gradient(jax.nn.relu(linen.Dense(4, use_bias=False)(x)))
        return linen.Dense(9, use_bias=False)(x)


def _part_of_weights(model: linen.Module) -> float:
    """Of those that plain ``jax.grad`` gives a gradient that is not zero."""
    x = jax.random.normal(jax.random.key(5), X.shape)
    params = model.init(jax.random.key(0), x)["params"]

    def loss(params: Any) -> Array:
        logits = model.apply({"params": params}, x)
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    matrices = [g for g in jax.tree.leaves(jax.grad(loss)(params)) if g.ndim > 1]
    reached = sum(g.size for g in matrices if (g != 0).any())
    return reached / sum(g.size for g in matrices)


DOUBTFUL = {
    "zero head": (_Perceptron(ZEROS), 8 / 32),
    "zero scale": (_Perceptron(scale=ZEROS), 0),
    "detached": (_Perceptron(between=jax.lax.stop_gradient), 8 / 32),
    "rounded": (_Perceptron(between=jnp.round), 8 / 32),
}
SOUND = {"plain": (_Perceptron(), 1), "little frozen": (_Wide(), 36 / 60)}


def test_a_score_of_few_gradients_is_doubtful() -> None:
    """Unless it reads none, or only a small part is missing."""
    models = {name: model for name, (model, _) in {**DOUBTFUL, **SOUND}.items()}
    gradients = ["snip", "grad_norm", "plain", "fisher", "grasp", "zico"]
    found = jaxproxy.population(models, X, [*gradients, "l2_norm", "naswot"])
    for name, (model, part) in {**DOUBTFUL, **SOUND}.items():
        assert _part_of_weights(model) == part
        place = found.names.index(name)
        for proxy in gradients[:-1]:
            assert found.valid[proxy][place] == (name in SOUND)
            doubt = found.doubts[proxy].get(name, "")
            if part == 0:
                assert doubt == "no gradient reaches any weight"
            elif name in DOUBTFUL:
                assert doubt.startswith("no gradient reaches 75% of the weights")
            else:
                assert doubt == ""
        assert found.valid["l2_norm"][place]
        assert name not in found.refused["snip"]
    # The weights of its setup are drawn, and none is zero.
    assert found.valid["zico"][found.names.index("zero head")]
    assert not found.valid["zico"][found.names.index("detached")]


def test_one_logit_has_no_softmax() -> None:
    """What needs none is scored."""
    needs = ["grasp", "epe_nas", "vkdnw_entropy", "cv", "weight_agnostic"]
    others = ["jacov", "ntk", "linear_regions", "l2_norm", "params", "synflow"]
    others += ["snip", "zico", "grad_sign"]  # by binary cross-entropy
    models = {"one": _Perceptron(outputs=1), "two": _Perceptron()}
    found = jaxproxy.population(models, X, needs + others)
    for proxy in needs:
        assert "needs the logits of two classes or more" in found.refused[proxy]["one"]
        assert "two" not in found.refused[proxy]
    for proxy in others:
        assert found.refused[proxy] == {}
        assert found.valid[proxy].all(), found.doubts[proxy]


def test_one_image_is_not_compared() -> None:
    """Unless a proxy has a number of images of its own."""
    compare = ["naswot", "linear_regions", "linear_regions(hashed=True)", "jacov"]
    compare += ["epe_nas", "ntk", "grad_sign", "swap(images=1)"]
    others = ["snip", "swap(images=4)", "zico"]
    found = jaxproxy.population({"a": _Perceptron()}, X[:1], compare + others)
    for proxy in compare:
        assert found.refused[proxy]["a"] == "it compares images, and the batch has one"
        assert np.isnan(found.scores[proxy]).all()
        assert not found.valid[proxy].any()
    assert not any(found.refused[proxy] for proxy in others)


class _Pixels(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.Conv(4, (3, 3))(x)
        x = jax.nn.relu(linen.BatchNorm(use_running_average=False)(x))
        return linen.Dense(2)(x.mean((1, 2)))


@pytest.mark.parametrize("images", [1, 4])
def test_batch_norm_over_one_value(images: int) -> None:
    """It gives zero for anything; also of image by image, and of a fixed number."""
    proxies = ["snip", "grad_sign", "meco(layers=linear)", "vkdnw_entropy", "l2_norm"]
    found = jaxproxy.population(
        {"a": _Perceptron(norm=True)}, jnp.zeros((images, 6)), proxies
    )
    for proxy in proxies[:-2]:
        refused = proxy != "snip" or images == 1
        assert ("a" in found.refused[proxy]) == refused
    # Running statistics, and no pass at all.
    assert not any(found.refused[proxy] for proxy in proxies[-2:])
    pixels = jaxproxy.population(
        {"a": _Pixels()}, jnp.zeros((images, 4, 4, 3)), ["snip", "meco"]
    )
    assert not any(pixels.refused.values())


class _Mixed(linen.Module):
    """Two products of a matrix that no tap reads, and one that is read."""

    how: str

    @linen.compact
    def __call__(self, x: Array) -> Array:
        init = linen.initializers.lecun_normal()
        if self.how == "einsum":
            x = linen.Einsum((6, 6), "bi,ij->bj", use_bias=False)(x)
        elif self.how == "param":
            x = x @ self.param("w", init, (6, 6))
        elif self.how == "dense":
            x = linen.Dense(6, use_bias=False)(x)
        elif self.how == "embed":
            x = x @ linen.Embed(6, 6)(jnp.arange(6))
        return linen.Dense(2)(jax.nn.relu(x * self.param("s", init, (1, 6))[0]))


def test_what_is_not_counted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """In the report and in the log."""
    hows = ("einsum", "param", "dense", "embed")
    found = jaxproxy.population({how: _Mixed(how) for how in hows}, X, ["l2_norm"])
    names = {"einsum": "s", "param": "s, w", "dense": "s",
             "embed": "Embed_0.embedding, s"}  # fmt: skip
    for how in hows:
        (note,) = found.notes[how]
        missed = names[how].count(",") + 1

        assert note.startswith(f"{missed} of 3 matrices are not counted")
        assert note.endswith(f": {names[how]}")
        assert f"{how}: {note}" in caplog.text
    assert not jaxproxy.population({"a": _Perceptron()}, X, ["l2_norm"]).notes["a"]
