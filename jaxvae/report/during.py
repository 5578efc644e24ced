"""Pictures during training: reconstructions, latent traversals and samples of the prior."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxvae.analysis import Representation, make_encoder, reconstruct, traverse
from jaxvae.data.source import Source
from jaxvae.data.splits import HeldOut
from jaxvae.method import Batch, Method, Nets, no_code, no_image
from jaxvae.report.collect import PRIOR_SAMPLES, SHOWN_IMAGES, SHOWN_PICTURES, traversal_values
from jaxvae.report.data import MOST_LATENTS
from jaxvae.report.pictures import Label, comparison, image_grid, image_rows, in_colours, signed
from jaxvae.report.sections import NATS, PERCENT, coloured
from jaxvae.runs.latents import change_per_latent
from jaxvae.runs.load import evaluation_key
from jaxvae.runs.score import independent
from jaxvae.training.engine import TrainState
from jaxvae.training.observers import Observation, Observer

Draw: TypeAlias = Callable[[dict[str, Any], Representation | None], dict[str, np.ndarray]]
"""Function (params, codes, which are None for methods without a code) -> pictures by name."""
ENCODED = 500
"""Number of examples whose codes decide the order of the latents and fill the histograms."""


def image_observer(
    method: Method, source: Source, every: int, *, seed: int = 0, held_out: HeldOut | None = None
) -> Observer:
    """Returns an observer that draws what the model makes of images, always of the same ones.

    The pictures are "reconstructions" (examples above their reconstructions), "traversals" (a row for each of the most
    informative latents, ordered by KL or, for deterministic codes, by the change of the output, as in the report) and
    "prior samples", or "pictures" for methods that draw other ones. Histograms are of the codes of 500 examples,
    "codes/z0" and so on.

    Args:
      method: Method that is trained.
      source: Images that it is trained on.
      every: Number of steps between pictures.
      seed: Seed of the run, which decides on the examples.
      held_out: Examples to draw; by default, those of `source`.

    Returns:
      Observer for `jaxvae.training.train`.

    Raises:
      ValueError: The examples are no images.
    """
    if len(source.event_shape) != 3:
        raise ValueError(f"pictures during training are for images, and examples of {source.name} are none")
    key, prior_key = jax.random.split(evaluation_key(seed))
    shown = source if held_out is None else held_out.source
    batch = jax.device_get(shown.sample(key, SHOWN_IMAGES))
    of_prior = {} if method.sample_prior is None else jax.device_get(source.sample(prior_key, PRIOR_SAMPLES))
    codes_of = None if method.encode is no_code else make_encoder(method, independent(shown), evaluation_key(seed))
    draw: Draw = partial(_pictures_of_method, method, shown, key)
    if codes_of is not None and method.decode is not no_image:
        draw = _drawing(method, batch, of_prior, prior_key)

    def observe(state: TrainState) -> Observation:
        if codes_of is None:
            return Observation(images=draw(state.params, None))
        codes = codes_of(state.params, ENCODED)
        histograms = {f"codes/z{index}": values for index, values in enumerate(codes.mean.T)}
        return Observation(images=draw(state.params, codes), histograms=histograms)

    return Observer(every, observe)


def _drawing(method: Method, batch: Batch, of_prior: Batch, prior_key: jax.Array) -> Draw:
    """Returns a function (params, codes) -> reconstructions, traversals and samples of the prior, compiled once."""

    def decoded(params: dict[str, Any], batch: Batch, of_prior: Batch, values: jax.Array, latents: jax.Array) -> Any:
        net = Nets(method.networks, params)
        base = method.encode(net, batch).mean[0]
        if method.sample_prior is None:
            z = jax.random.normal(prior_key, (PRIOR_SAMPLES, base.shape[0]))
        else:
            z = method.sample_prior(net, prior_key, of_prior)
        rows = traverse(method, params, base, values, latents)
        return reconstruct(method, params, batch), rows, method.decode(net, z)

    def decode(params: dict[str, Any], codes: jax.Array) -> jax.Array:
        return method.decode(Nets(method.networks, params), codes)

    compiled, decode = (jax.jit(decoded), jax.jit(decode)) if method.networks else (decoded, decode)

    def draw(params: dict[str, Any], codes: Representation | None) -> dict[str, np.ndarray]:
        assert codes is not None
        values, unit = traversal_values(codes.mean), PERCENT
        sizes = change_per_latent(lambda rows: np.asarray(decode(params, jnp.asarray(rows, jnp.float32))), codes)
        if sizes is None:
            sizes, unit = codes.kl_per_latent(), NATS
        latents = np.argsort(-sizes, kind="stable")[:MOST_LATENTS]
        rebuilt, rows, prior = map(
            _pixels, compiled(params, batch, of_prior, jnp.asarray(values), jnp.asarray(latents))
        )
        sizes = 100 * sizes if unit is PERCENT else sizes
        labels = [Label(f"z{index}", f"{sizes[index]:.2f} {unit.name}") for index in latents]
        return {
            "reconstructions": _array(comparison(_pixels(batch["x"]), rebuilt)),
            "traversals": _array(image_rows(rows, labels, [signed(value) for value in values])),
            "prior samples": _array(image_grid(prior)),
        }

    return draw


def _pictures_of_method(
    method: Method, source: Source, key: jax.Array, params: dict[str, Any], codes: Representation | None
) -> dict[str, np.ndarray]:
    """Returns the pictures that the method itself draws, or none."""
    if method.pictures is None:
        return {}
    batch = source.batch(key, jnp.int32(0), SHOWN_PICTURES)
    named = {"image": batch["x"], **method.pictures(Nets(method.networks, params), key, batch)}
    rows = [coloured(np.asarray(each)) if name.endswith("map") else _pixels(each) for name, each in named.items()]
    rows = [np.broadcast_to(each, (*each.shape[:3], 3)) for each in rows]
    return {"pictures": _array(image_rows(np.stack(rows), [Label(name) for name in named]))}


def _pixels(images: Any) -> np.ndarray:
    return in_colours(np.clip(np.asarray(images, np.float32), 0.0, 1.0))


def _array(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))
