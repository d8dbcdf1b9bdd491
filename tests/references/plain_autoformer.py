"""AutoFormer once more, plainly: one architecture, no switch, no loop of layers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Arch(NamedTuple):
    """An architecture at some fidelity."""

    embedding: int
    head_dim: int
    heads: Sequence[int]
    hidden: Sequence[int]


def parameters(params: dict[str, Any], arch: Arch) -> dict[str, Array]:
    """What an architecture reads of the supernet's parameters, by tap name."""
    e = arch.embedding
    found = {
        "patches.weight": params["patches"][..., :e],
        "patches.bias": params["patches_bias"][:e],
        "cls_token": params["token"][:e],
        "positions": params["positions"][:, :e],
        "norm.weight": params["norm"][0, :e],
        "norm.bias": params["norm"][1, :e],
        "head.weight": params["kernel"][:e],
        "head.bias": params["bias"],
    }
    for i, (heads, hidden) in enumerate(zip(arch.heads, arch.hidden, strict=True)):
        layer = {k: v[i] for k, v in params["layers"].items()}
        inner = heads * arch.head_dim
        mine = {
            "attn.norm.weight": layer["norms"][0, 0, :e],
            "attn.norm.bias": layer["norms"][0, 1, :e],
            "attn.qkv.weight": layer["qkv"][:e, :, :inner].reshape(e, -1),
            "attn.qkv.bias": layer["qkv_bias"][:, :inner].reshape(-1),
            "attn.rel_k.rows": layer["tables"][0, 0],
            "attn.rel_k.columns": layer["tables"][0, 1],
            "attn.rel_v.rows": layer["tables"][1, 0],
            "attn.rel_v.columns": layer["tables"][1, 1],
            "attn.proj.weight": layer["proj"][:inner, :e],
            "attn.proj.bias": layer["biases"][0, :e],
            "mlp.norm.weight": layer["norms"][1, 0, :e],
            "mlp.norm.bias": layer["norms"][1, 1, :e],
            "mlp.fc1.weight": layer["fc1"][:e, :hidden],
            "mlp.fc1.bias": layer["fc1_bias"][:hidden],
            "mlp.fc2.weight": layer["fc2"][:hidden, :e],
            "mlp.fc2.bias": layer["biases"][1, :e],
        }
        found |= {f"blocks.{i}.{name}": tensor for name, tensor in mine.items()}
    return found


def logits(
    params: dict[str, Array], arch: Arch, x: Array
) -> tuple[Array, dict[str, Array]]:
    """Logits float[B, K], and the outputs of dense layers by tap name."""
    outputs: dict[str, Array] = {}

    def dense(name: str, x: Array) -> Array:
        x = jnp.einsum("...c,cd->...d", x, params[f"{name}.weight"])
        outputs[name] = x + params[f"{name}.bias"]
        return outputs[name]

    x = lax.conv_general_dilated(
        x, params["patches.weight"], (16, 16), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    grid = x.shape[1]
    x = (x + params["patches.bias"]).reshape(len(x), grid * grid, -1)
    token = jnp.ones((len(x), 1, 1)) * params["cls_token"]
    x = jnp.concatenate([token, x], axis=1) + params["positions"][None]
    for i in range(len(arch.heads)):
        block = f"blocks.{i}"
        z = dense(f"{block}.attn.qkv", _norm(params, f"{block}.attn.norm", x))
        z = _attention(params, f"{block}.attn", arch.heads[i], grid, z)
        x = x + dense(f"{block}.attn.proj", z)
        z = dense(f"{block}.mlp.fc1", _norm(params, f"{block}.mlp.norm", x))
        z = z * (1 + lax.erf(z / 2**0.5)) / 2
        x = x + dense(f"{block}.mlp.fc2", z)
    x = _norm(params, "norm", x)[:, 1:].mean(1)
    return dense("head", x), outputs


def _norm(params: dict[str, Array], name: str, x: Array) -> Array:
    z = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return z * params[f"{name}.weight"] + params[f"{name}.bias"]


def _attention(
    params: dict[str, Array], name: str, heads: int, grid: int, z: Array
) -> Array:
    """Head by head."""
    q, k, v = jnp.split(z, 3, axis=-1)
    dim = q.shape[-1] // heads

    def relative(which: str, query: int) -> Array:
        rows, columns = (params[f"{name}.rel_{which}.{s}"] for s in ("rows", "columns"))
        down, right = [0], [0]
        for key in range(grid * grid):
            (i, j), (i0, j0) = divmod(key, grid), divmod(query - 1, grid)
            down.append(15 + i - i0 if query else 0)
            right.append(15 + j - j0 if query else 0)
        return rows[jnp.array(down)] + columns[jnp.array(right)]

    tokens = range(grid * grid + 1)
    keys, values = (jnp.stack([relative(w, i) for i in tokens]) for w in "kv")

    @jax.vmap
    def one(q: Array, k: Array, v: Array) -> Array:
        seen = ((k[None] + keys) * q[:, None]).sum(-1) / dim**0.5
        return (jax.nn.softmax(seen)[..., None] * (v[None] + values)).sum(1)

    parts = [slice(h * dim, (h + 1) * dim) for h in range(heads)]
    return jnp.concatenate([one(q[..., s], k[..., s], v[..., s]) for s in parts], -1)
