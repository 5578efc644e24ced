"""Collects the numbers and pictures of a run's report."""

import platform
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis import (
    Representation,
    class_spectra,
    normalised_cross_correlation,
    reconstruct,
    traverse,
)
from jaxvae.files import inside, write_text
from jaxvae.method import Batch, Nets, no_image
from jaxvae.report.clusters import of_clusters
from jaxvae.report.data import MOST_LATENTS, ReportData
from jaxvae.report.live import live_model
from jaxvae.report.loadings import loadings_of
from jaxvae.report.page import report_html
from jaxvae.report.pictures import in_colours, shown_channels
from jaxvae.report.series import of_series
from jaxvae.report.splits import of_splits
from jaxvae.report.tables import of_columns
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.config import Config, default_config
from jaxvae.runs.latents import latents_by_size
from jaxvae.runs.load import OwnConfig, Run

SHOWN_IMAGES = 12
SHOWN_PICTURES = 8
SHOWN_COSINES = 150
PRIOR_SAMPLES = 32
KNOWN_EFFECT = "known effect"
QUANTILES = np.linspace(0, 1, 11)
TRAVERSAL_VALUES = np.linspace(-2, 2, 11, dtype=np.float32)


def write_report(run: Run, codes: Representation, scores: dict[str, Any], *, live: bool = False) -> Path:
    """Writes report/index.html into the run's folder and returns its path.

    Args:
      run: Run at the checkpoint to report on.
      codes: Codes of random examples of the run's data, from `jaxvae.runs.represent`.
      scores: Scores from `jaxvae.runs.evaluate`.
      live: Whether the page carries the decoder, whose sliders then need no server.

    Raises:
      jaxvae.report.live.Unsupported: The page cannot carry the decoder. A ValueError.
    """
    path = inside(run.folder, "report") / "index.html"
    path.parent.mkdir(exist_ok=True)
    data = collect(run, codes, scores)
    if live:
        mig = scores["metrics"].get("mig", {})
        data = data._replace(live=live_model(run, codes, latents_by_size(run, codes, mig)))
    write_text(path, report_html(data))
    return path


def collect(run: Run, codes: Representation, scores: dict[str, Any]) -> ReportData:
    """Collects everything that the page shows, as NumPy arrays and plain values."""
    method, source = run.method, run.source
    picture_key, prior_key = jax.random.split(run.evaluation_key)
    shown = source if run.held_out is None else run.held_out.source
    batch = shown.sample(picture_key, SHOWN_IMAGES)
    latents = latents_by_size(run, codes, scores["metrics"].get("mig", {}))
    order = latents.order
    by_quantile = isinstance(run.config, BaselineConfig)
    values = QUANTILES if by_quantile else traversal_values(codes.mean)
    swept = np.quantile(codes.mean, QUANTILES, axis=0, method="nearest").T if by_quantile else values
    pictures = _pictures(run, picture_key)
    spectra, cosines = _of_classes(run, codes)
    return ReportData(
        title=f"{method.name} on {source.name}",
        summary=_summary(run, scores),
        about_data=run.about_data,
        things=run.things,
        images=_pixels(batch["x"]),
        **_decoded(run, prior_key, batch, swept, order),
        traversal_values=values,
        by_quantile=by_quantile,
        latent_order=order,
        latent_factor=[latents.factors[d] for d in order],
        pictures={name: values if name.endswith("map") else _pixels(values) for name, values in pictures.items()},
        map_correlation=_map_correlation(pictures),
        of_columns=of_columns(run, codes, order, int(latents.active.sum())),
        of_clusters=of_clusters(run, codes),
        of_series=of_series(run, batch, swept, order),
        loadings=loadings_of(run),
        of_splits=of_splits(run, codes),
        spectra=spectra,
        cosines=cosines,
        kl_per_latent=latents.kl,
        change_per_latent=latents.change,
        mutual_information=latents.information,
        factor_names=source.factor_names or None,
        factor_entropy=latents.factor_entropy,
        scores={
            name: {**result, "score": float("nan") if result["score"] is None else result["score"]}
            for name, result in scores["metrics"].items()
        },
        history=[] if by_quantile else run.history,
        config=run.config.to_json(),
        reproduce=reproduce_command(run),
        versions={
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in ("jaxvae", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
            },
        },
    )


def _decoded(run: Run, key: jax.Array, batch: Batch, values: np.ndarray, order: np.ndarray) -> dict[str, Any]:
    """Decodes the batch, traversals from its first image, and samples of the prior.

    The arrays are empty if codes cannot be decoded, or if the examples are no images.
    """
    method, params = run.method, run.state.params
    if method.decode is no_image or not len(order) or len(run.source.event_shape) != 3:
        return dict.fromkeys(("reconstructions", "traversals", "prior_samples"), np.zeros((0, *run.source.event_shape)))
    prior_batch: Batch = {} if method.sample_prior is None else run.source.sample(key, PRIOR_SAMPLES)
    shown = order[:MOST_LATENTS].tolist()

    def decoded(params: dict[str, Any], batch: Batch, values: jax.Array) -> dict[str, jax.Array]:
        net = Nets(method.networks, params)
        base = method.encode(net, batch).mean[0]
        if method.sample_prior is None:
            z = jax.random.normal(key, (PRIOR_SAMPLES, base.shape[0]))
        else:
            z = method.sample_prior(net, key, prior_batch)
        return {
            "reconstructions": reconstruct(method, params, batch),
            "traversals": traverse(method, params, base, values, shown),
            "prior_samples": method.decode(net, z),
        }

    drawn = (jax.jit(decoded) if method.networks else decoded)(params, batch, jnp.asarray(values))
    return {name: _pixels(images) for name, images in drawn.items()}


def _pictures(run: Run, key: jax.Array) -> dict[str, np.ndarray]:
    """Returns the method's pictures of a batch: the images first, then the pictures and the known effect."""
    if run.method.pictures is None:
        return {}
    source = run.source if run.held_out is None else run.held_out.source
    batch = source.batch(key, jnp.int32(0), SHOWN_PICTURES)
    shown = run.method.pictures(Nets(run.method.networks, run.state.params), key, batch)
    images = {"image": batch["x"], **shown}
    if "mask" in batch and any(name.endswith("map") for name in shown):
        images[KNOWN_EFFECT] = batch["mask"]
    return {name: np.asarray(values, np.float32) for name, values in images.items()}


def _of_classes(run: Run, codes: Representation) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Computes the spectra of the codes by class, and cosines between codes, for methods that learn class subspaces.

    Such methods do not decode their codes into images. For other methods, both values are None.
    """
    method, names, config = run.method, run.source.factor_names, run.config
    if not isinstance(config, Config) or method.decode is not no_image or method.pictures is not None:
        return None, None
    if codes.factors is None:
        return None, None
    class_factor = getattr(config.batches, "class_factor", None)
    label = codes.factors[:, names.index(class_factor) if class_factor else 0]
    few = np.argsort(label[:SHOWN_COSINES], kind="stable")
    rows = codes.mean[few] / np.maximum(np.linalg.norm(codes.mean[few], axis=1, keepdims=True), 1e-12)
    return class_spectra(codes.mean, label), np.abs(rows @ rows.T)


def _map_correlation(pictures: dict[str, np.ndarray]) -> float | None:
    """Correlates the negative of the maps with the known effect, since a map removes the effect."""
    if KNOWN_EFFECT not in pictures:
        return None
    return float(normalised_cross_correlation(-pictures["map"], pictures[KNOWN_EFFECT]).mean())


def traversal_values(means: np.ndarray) -> np.ndarray:
    """Returns the values of latents in a traversal: -2 to 2, scaled up if the widest latent of the codes [N, D] is
    wide.
    """
    return TRAVERSAL_VALUES * max(1, round(float(means.std(axis=0).max(initial=0))))


def reproduce_command(run: Run) -> str:
    """Returns the command line that trains this run again, with every setting; "" for a run trained in Python."""
    return "" if isinstance(run.config, OwnConfig) else command_of(run.config)


def command_of(asked: Config[Any, Any, Any, Any] | BaselineConfig) -> str:
    """Returns the command line of a configuration, with every setting but lists that are empty by default."""
    if isinstance(asked, BaselineConfig):
        settings: dict[str, Any] = {name: value for name, value in asked.to_json().items() if value != []}
        command = f"jaxvae fit {settings.pop('baseline')}"
    else:
        command, idle = f"jaxvae train {asked.method}", asked.idle()
        usual = default_config(asked.method).flags()
        empty = {name for name, value in asked.flags().items() if value in ((), []) and usual.get(name) in ((), [])}
        settings = {name: value for name, value in asked.flags().items() if name not in {*idle, *empty}}
    words = []
    for key, value in settings.items():
        if value is not None and value is not False:
            values = value if isinstance(value, list | tuple) else [] if value is True else [value]
            words.append(" ".join([f"--{key.replace('_', '-')}", *(shlex.quote(str(v)) for v in values)]))
    return " \\\n    ".join([command, *words])


def _pixels(images: jax.Array | np.ndarray) -> np.ndarray:
    """Returns images as they are shown; none for examples that are no pictures."""
    if images.ndim < 4:
        return np.zeros((0, 1, 1, 1), np.float32)
    return in_colours(np.clip(np.asarray(images, np.float32), 0.0, 1.0))


def _batch_size(run: Run) -> int:
    config = run.config
    assert not isinstance(config, BaselineConfig)
    return config.training.batch_size if isinstance(config, Config) else config.batch_size


def _summary(run: Run, scores: dict[str, Any]) -> dict[str, str]:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.state.params))
    seconds = [row["seconds"] for row in run.history if "seconds" in row]
    speeds = [row["steps_per_second"] for row in run.history if "steps_per_second" in row]
    error = scores["properties"]["reconstruction_error"]
    if isinstance(run.config, BaselineConfig):
        steps = f"fitted to {min(run.config.examples, run.source.size):,} {run.things}"
    else:
        steps = f"{int(run.state.step):,} of {_batch_size(run)} {run.things}"
    return {
        "method": run.method.name,
        "data": f"{run.data_in_words}{shown_channels(run.source.event_shape)}",
        "scored on": scores["rows"] if run.held_out and "rows" in scores else "",
        "steps": steps,
        "seed": str(run.config.seed),
        "parameters": f"{parameters:,}" if parameters else "",
        "training time": f"{sum(seconds):.0f} s" if seconds else "",
        "speed": f"{np.median(speeds):.0f} steps/s" if speeds else "",
        "reconstruction error": "" if error is None else f"{error:.3g} (squared, per value)",
        "device": jax.devices()[0].device_kind,
    }
