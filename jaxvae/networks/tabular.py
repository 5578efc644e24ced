"""Inputs and outputs of networks for tables: masks of the observed values, features, and learned noise.

The decoder has one output layer for all columns, in which each column has a slice ("head") of its own: one output for a
real, count or binary column, and one for each value of a categorical one. `jaxvae.methods.by_columns` reads a slice by
the kind of its column.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.method import Network, Params
from jaxvae.schema import Schema

LEAST_GENES = 50
"""Smallest number of columns of a table of counts whose totals are no information."""


def inputs_width(schema: Schema) -> int:
    """Returns the number of inputs of an encoder: those of x, and one for each column with missing values."""
    return schema.width + len(schema.first_entries_with_missing)


def inputs(schema: Schema, x: jax.Array) -> jax.Array:
    """Converts rows x [B, D + ...] to what an encoder sees: [B, inputs_width + ...].

    Missing values become 0, and each column that may miss values adds a number that is 1 where its value is observed.
    Counts become log(1 + count), less that of the column's mean. Further entries of x stay as they are.
    """
    rows, further = x[:, : schema.width], x[:, schema.width :]
    counts = schema.entries("count")
    observed = ~jnp.isnan(rows)
    rows = jnp.where(observed, rows, 0.0)
    if len(counts):
        means = np.array([column.mean for column in schema.used if column.kind == "count"], np.float32)
        rows = rows.at[:, counts].set(jnp.log1p(rows[:, counts]) - np.log1p(means)[None])
        rows = jnp.where(observed, rows, 0.0)
    mask = observed[:, schema.first_entries_with_missing].astype(rows.dtype)
    return jnp.concatenate([rows, mask, further], axis=1)


def neighbour_features(schema: Schema, x: jax.Array) -> jax.Array:
    """Returns what distances between rows x [B, D] of a table are taken of: `inputs`, [B, inputs_width].

    A table of counts only, with at least 50 columns, is taken for cells x genes, whose totals differ by how deeply a
    cell was sequenced: counts are first scaled to the mean total of the training rows, over the observed columns.
    """
    means = np.array([column.mean for column in schema.used], np.float32)
    if len(means) < LEAST_GENES or any(column.kind != "count" for column in schema.used):
        return inputs(schema, x)
    observed = ~jnp.isnan(x)
    total = jnp.where(observed, x, 0.0).sum(axis=1, keepdims=True)
    expected = jnp.where(observed, means[None], 0.0).sum(axis=1, keepdims=True)
    return inputs(schema, x * (expected / jnp.maximum(total, 1.0)))


def of_rows(encoder: Network, schema: Schema) -> Network:
    """Returns the encoder as a function of rows x, which are converted by `inputs` first."""
    return Network(encoder.init, lambda params, x, *keys: encoder.apply(params, inputs(schema, x), *keys))


def decoder_params(params: Params) -> Params:
    """Returns the parameters of a decoder, without the learned ones of a likelihood that `with_parameters` added."""
    return params["decoder"] if set(params) == {"decoder", "likelihood"} else params


def with_parameters(decoder: Network, start: np.ndarray) -> Network:
    """Returns the decoder with learned values after its outputs, the same for all examples: [B, D + P].

    Args:
      decoder: Decoder with outputs [B, D].
      start: Initial values of the learned parameters of the likelihood [P].
    """

    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {"decoder": decoder.init(key), "likelihood": jnp.asarray(start, jnp.float32)}

    def apply(params: dict[str, jax.Array], *inputs: jax.Array) -> jax.Array:
        outputs = decoder.apply(params["decoder"], *inputs)
        learned = jnp.broadcast_to(params["likelihood"][None], (outputs.shape[0], len(start)))
        return jnp.concatenate([outputs, learned], axis=1)

    return Network(init, apply, lambda params, *inputs: decoder.hidden(params["decoder"], *inputs))
