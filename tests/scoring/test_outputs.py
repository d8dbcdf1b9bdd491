"""Models of several outputs, dense outputs and tokens, beside plain ``jax.grad``."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax import Array

import jaxproxy
from jaxproxy.scoring import Population
from jaxproxy.spaces import Mode, Space

X = jnp.zeros((3, 8, 8, 3))
TOKENS = jnp.full((3, 6), 10)
FEW = ["params", "macs", "naswot", "l2_norm", "capacity", "snip", "grad_norm"]


class _TwoHeads(linen.Module):
    """Gives (features, {"logits": ..., "aux": ...})."""

    @linen.compact
    def __call__(self, x: Array) -> tuple[Array, dict[str, Array]]:
        x = linen.relu(linen.Conv(4, (3, 3), use_bias=False)(x)).mean((1, 2))
        return x, {"logits": linen.Dense(5)(x), "aux": linen.Dense(2)(x)}


class _Logits(linen.Module):
    """What it is if the logits alone are given; of the same names."""

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.relu(linen.Conv(4, (3, 3), use_bias=False)(x)).mean((1, 2))
        y = linen.Dense(5)(x)
        linen.Dense(2)(x)
        return y


class _Pair(NamedTuple):
    first: Array
    second: Array


class _NnxPair(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.body = nnx.Linear(8 * 8 * 3, 4, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: Array) -> _Pair:
        x = nnx.relu(self.body(x.reshape(len(x), -1)))
        return _Pair(x, self.head(x))


def _score(model: Any, proxies: list[str], **use: Any) -> Population:
    return jaxproxy.population({"a": model}, X, proxies, **use)


def test_several_outputs_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError) as failure:
        _score(_TwoHeads(), ["snip"])
    message = str(failure.value)
    for part in (
        "[0] float32[1, 4]",
        "[1]['logits'] float32[1, 5]",
        "[1]['aux'] float32[1, 2]",
        "choose an array with output=",
    ):
        assert part in message
    with pytest.raises(ValueError, match="output='logits' is none of them"):
        _score(_TwoHeads(), ["snip"], output="logits")
    with pytest.raises(ValueError, match="output=7 is none of them"):
        _score(_TwoHeads(), ["snip"], output=7)


def test_the_output_that_is_chosen_is_scored() -> None:
    chosen = _score(_TwoHeads(), FEW, output=lambda given: given[1]["logits"])
    alone = _score(_Logits(), FEW)
    assert not any(chosen.refused.values())
    for name in FEW:
        assert chosen.scores[name][0] == alone.scores[name][0], name
    places = [_score(_NnxPair, ["snip"], output=o) for o in (1, -1, "second")]
    snips = {found.scores["snip"][0] for found in places}
    assert len(snips) == 1 and snips.pop() > 0
    first = jaxproxy.population({"a": _TwoHeads()}, X, ["snip"], output=0)
    assert first.scores["snip"][0] > 0


class _UNet(linen.Module):
    """An encoder, a transposed convolution back, and a skip between them."""

    outputs: int = 2

    @linen.compact
    def __call__(self, x: Array) -> Array:
        high = linen.relu(linen.Conv(4, (3, 3), use_bias=False, name="down")(x))
        low = linen.relu(
            linen.Conv(6, (3, 3), strides=2, use_bias=False, name="low")(high)
        )
        up = linen.ConvTranspose(4, (2, 2), strides=(2, 2), use_bias=False, name="up")
        both = jnp.concatenate([high, up(low)], axis=-1)
        return linen.Conv(self.outputs, (1, 1), use_bias=False, name="head")(both)


def _drawn(space: Space, size: int, seed: int = 0) -> tuple[Any, Any]:
    """Parameters and a batch as the scorer draws them."""
    weight_key, batch_key = jax.random.split(jax.random.key(seed))
    fidelity = space.presets["fast"]
    network = space.make_network(fidelity, Mode())
    batch = space.task.batch(
        batch_key, jaxproxy.Fidelity(width=1, cells=1, batch_size=size)
    )
    return network.init(weight_key)["params"], batch


def _by_hand(
    model: linen.Module, params: Any, batch: Any, loss: Any
) -> tuple[float, float]:
    """Snip and the norm of gradients by ``jax.grad``, summed over tensors."""
    gradients = jax.grad(lambda p: loss(model.apply({"params": p}, batch.x), batch.y))(
        params
    )
    pairs = list(zip(jax.tree.leaves(gradients), jax.tree.leaves(params), strict=True))
    snip = sum(float(jnp.abs(g * w).sum()) for g, w in pairs)
    return snip, sum(float(jnp.linalg.norm(g)) for g, _ in pairs)


def _mse(output: Array, target: Array) -> Array:
    return jnp.square(output - target).mean()


def _huber(output: Array, target: Array) -> Array:
    return optax.huber_loss(output, target).mean((1, 2, 3))


def _pixels(output: Array, target: Array) -> Array:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(output), target[..., None], -1)
    return -chosen.mean()


def _bits(output: Array, target: Array) -> Array:
    signed = jnp.where(target == 1, output, -output)
    return -jax.nn.log_sigmoid(signed).mean()


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        ("mse", _mse),
        (_huber, lambda output, target: _huber(output, target).mean()),
        ("cross_entropy", _pixels),
        ("binary", _bits),
    ],
)
def test_losses_of_dense_outputs(loss: Any, by_hand: Any) -> None:
    found = _score(_UNet(), ["snip", "grad_norm"], loss=loss)
    assert found.valid["snip"][0] and found.valid["grad_norm"][0]
    space = jaxproxy.from_linen(_UNet(), X, loss=loss)
    params, batch = _drawn(space, len(X))
    snip, norm = _by_hand(_UNet(), params, batch, by_hand)
    assert found.scores["snip"][0] == pytest.approx(snip, rel=1e-4)
    assert found.scores["grad_norm"][0] == pytest.approx(norm, rel=1e-4)


def test_dense_outputs_without_a_loss() -> None:
    """What needs no loss is scored; by hand, weights and multiply-adds of an image."""
    found = _score(_UNet(), [*FEW, "intrain", "synflow", "grasp", "vkdnw_entropy"])
    assert found.scores["params"][0] == 108 + 216 + 96 + 16
    macs = 64 * 108 + 16 * 216 + 16 * 96 + 64 * 16
    assert found.scores["macs"][0] == macs
    for name in ("naswot", "l2_norm", "capacity", "synflow"):
        assert found.valid[name][0], name
    for name in ("snip", "grad_norm", "intrain"):
        assert "whose loss nobody knows; give loss=" in found.refused[name]["a"]
    for name in ("grasp", "vkdnw_entropy"):
        assert "it needs the logits of two classes" in found.refused[name]["a"]


class _One(linen.Module):
    flat: bool = False

    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.relu(linen.Dense(4, use_bias=False)(x.reshape(len(x), -1)))
        x = linen.Dense(1, use_bias=False)(x)
        return x[:, 0] if self.flat else x


def test_one_logit_has_binary_cross_entropy() -> None:

    found = _score(_One(), ["snip", "grad_norm", "grasp"])
    space = jaxproxy.from_linen(_One(), X)
    params, batch = _drawn(space, len(X))
    assert set(np.unique(batch.y)) <= {0, 1} and batch.y.shape == (3, 1)
    snip, norm = _by_hand(_One(), params, batch, _bits)
    assert found.scores["snip"][0] == pytest.approx(snip, rel=1e-4)
    assert found.scores["grad_norm"][0] == pytest.approx(norm, rel=1e-4)
    assert "two classes or more" in found.refused["grasp"]["a"]
    (note,) = found.notes["a"]
    assert "'binary' with random targets" in note
    flat = _score(_One(flat=True), ["snip", "grad_norm", "synflow", "jacov"])
    assert flat.scores["snip"][0] == pytest.approx(snip, rel=1e-4)
    assert not any(flat.refused.values())
    with pytest.raises(ValueError, match="give 'binary'"):
        _score(_One(), ["snip"], loss="cross_entropy")


class _Decoder(linen.Module):
    """A language model of one block: tokens below 11, and the next token's logits."""

    @linen.compact
    def __call__(self, tokens: Array) -> Array:
        x = linen.Embed(11, 8, name="embed")(tokens)
        mask = linen.make_causal_mask(tokens)
        y = linen.LayerNorm(name="norm")(x)
        attend = linen.MultiHeadDotProductAttention(2, use_bias=False, name="attend")
        x += attend(y, mask=mask)
        x += linen.Dense(8, name="out")(linen.relu(linen.Dense(16, name="mlp")(x)))
        return linen.Dense(11, use_bias=False, name="head")(x)


def test_a_language_model_on_tokens() -> None:
    proxies = ["params", "snip", "grad_norm", "l2_norm", "naswot", "jacov"]
    proxies += ["capacity", "capacity(layers=linear)"]
    found = jaxproxy.population(
        {"a": _Decoder()}, TOKENS, proxies, loss="cross_entropy"
    )
    space = jaxproxy.from_linen(_Decoder(), TOKENS, loss="cross_entropy")
    params, batch = _drawn(space, len(TOKENS))
    assert batch.x.dtype == TOKENS.dtype and batch.x.shape == TOKENS.shape
    assert 0 <= batch.x.min() < batch.x.max() <= 10
    count = 11 * 8 + 2 * 8 + 4 * 64 + (8 * 16 + 16) + (16 * 8 + 8) + 8 * 11
    assert found.scores["params"][0] == count
    gradients = jax.grad(
        lambda p: _pixels(_Decoder().apply({"params": p}, batch.x), batch.y)
    )(params)
    norms = {
        jax.tree_util.keystr(path): float(jnp.linalg.norm(g))
        for path, g in jax.tree_util.tree_leaves_with_path(gradients)
        if g.ndim > 1
    }
    assert min(norms.values()) > 0
    # A table of tokens is no layer that multiplies, and the note says so.
    (note,) = found.notes["a"]
    assert "1 of 8 matrices" in note and "embed" in note
    counted = sum(norms.values()) - norms["['embed']['embedding']"]
    assert found.scores["grad_norm"][0] == pytest.approx(counted, rel=1e-3)
    for name in ("snip", "grad_norm", "l2_norm", "capacity(layers=linear)", "naswot"):
        assert found.valid[name][0], (name, found.doubts[name])
    assert "reads taps of kinds ('input',)" in found.refused["jacov"]["a"]
    assert "['linear', 'relu']; layers=linear reads" in found.refused["capacity"]["a"]
    with pytest.raises(ValueError, match="must be real numbers, not bool"):
        jaxproxy.from_linen(_Decoder(), jnp.zeros((3, 6), bool))


def test_bad_losses_name_the_choices() -> None:
    with pytest.raises(ValueError, match=r"loss .*'l1'.*mse"):
        _score(_UNet(), ["params"], loss="l1")
    with pytest.raises(TypeError, match="losses"):
        _score(_UNet(), ["params"], losses="mse")


def test_inspect_shows_what_is_tapped() -> None:
    found = jaxproxy.inspect(_UNet(), X)
    taps = {tap.name: (tap.kind, tap.shape) for tap in found.taps}
    assert taps["up"] == ("conv", (8, 8, 4)) and taps["input"] == ("input", (8, 8, 3))
    text = str(found)
    for line in ("parameters: 436 in 4 tensors", "output of one input: 8x8x2"):
        assert line in text
    assert "loss: none by default" in text and "8x8x4" in text
    found = jaxproxy.inspect(_Decoder(), TOKENS, loss="cross_entropy")
    assert "loss: cross_entropy" in str(found)
    assert "matrices that are not counted: embed" in str(found)
    with pytest.raises(ValueError, match="choose an array with output="):
        jaxproxy.inspect(_TwoHeads(), X)
