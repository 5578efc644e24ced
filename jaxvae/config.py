"""What the command line asks for, as data, and how it becomes a method and a source."""

import dataclasses
import difflib
import functools
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import tyro
from typeguard import TypeCheckError, check_type

from jaxvae.data import (
    Augmented,
    Classified,
    Conditioned,
    Epochs,
    GroundTruth,
    Groups,
    Pairs,
    Source,
    Streamed,
    Table,
    augmented,
    case_control,
    classified,
    few_labels,
    open_data,
)
from jaxvae.fields import typed
from jaxvae.method import Method, Network
from jaxvae.methods import METHODS, Likelihood, bernoulli, gaussian, laplace
from jaxvae.networks import (
    ARCHITECTURES,
    attribution_networks,
    autoencoder,
    conditional_prior,
    discriminator,
    feature_network,
    grouped_decoder,
    label_networks,
    latent_adversarial_networks,
    layered_networks,
    mixture_prior,
    translation_networks,
)
from jaxvae.training.optimizers import Optimization

HP = TypeVar("HP")
Options = TypeVar("Options")
OWN_NETWORKS: dict[str | None, Callable[..., dict[str, Network]]] = {
    "attribution networks": attribution_networks,
    "layered networks": layered_networks,
    "translation networks": translation_networks,
}
"""Of methods that have no choice of networks."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LIKELIHOODS = {"bernoulli": bernoulli, "gaussian": gaussian, "laplace": laplace}


@dataclass(frozen=True)
class Config(Generic[HP, Options]):
    """Everything that decides the numbers of a run. Two runs of one Config on one machine end in the same bits."""

    method: tyro.conf.Fixed[str]
    """see `jaxvae list`"""
    hp: HP
    """hyperparameters of the method"""
    options: Annotated[Options, tyro.conf.arg(name="")]
    """choices that the method offers besides"""
    data: str = "scene"
    """see `jaxvae list`; color-, noisy- or scream- before the name of black-and-white data makes it harder"""
    image_size: int | None = None
    """pixels per side, a multiple of 16 for most networks; the data's own if not given"""
    sampling: Literal["replacement", "epochs"] = "replacement"
    """whether images are drawn independently, or all of them once per epoch in a random order"""
    stream: bool = False
    """leave images in their file and read ahead, for data larger than memory (tfds:NAME, and arrays:PATH of npy)"""
    skip_bad: bool = False
    """leave out pictures that can't be read, for pictures:PATH"""
    shared: int | None = None
    """factors that two images have in common, for methods that learn from pairs; all but one if not given"""
    common: tuple[str, ...] = ()
    """factors that the images of a group share, for methods that learn from groups; the first if not given"""
    labels: int | None = None
    """examples that have labels, for methods that learn from labels; 100 if not given"""
    label_quality: Literal["perfect", "binned", "noisy", "permuted", "partial"] = "perfect"
    """of those labels: what is wrong with them"""
    aux: str | None = None
    """factor that is the auxiliary variable, for methods whose prior depends on one; the first if not given"""
    effect: str | None = None
    """factor that tells cases (1) from controls (0), for methods that learn from both; the first if not given"""
    classify: str | None = None
    """factor whose values are the classes, for methods that learn from classes; the first if not given"""
    corruption: float = 0.0
    """share of those classes that are drawn anew, of data in a table"""
    copies: int | None = None
    """altered copies of an image that make a class of their own, in place of a factor's values"""
    texture: str | None = None
    """picture behind the sprites, for scream-...; one of our own if not given"""
    network: str = "mlp-small"
    """see `jaxvae list`; own for methods that have no choice of networks"""
    net_size: Literal["small", "paper"] = "small"
    """of a method's own networks: small, or as published"""
    latents: int = 10
    """size of the code"""
    discriminator: tuple[int, ...] = (256, 256, 256)
    """widths of the hidden layers of the discriminator, if the method has one"""
    components: int = 100
    """of the mixture prior, if the method has one"""
    likelihood: str = "bernoulli"
    """of a pixel: bernoulli, gaussian or laplace, if the method has one"""
    scale: float = 1.0
    """standard deviation of the gaussian, or scale of the laplace likelihood"""
    steps: int = 5000
    """updates in all, those before an interruption included"""
    batch_size: int = 128
    """images per update, of all devices together"""
    microbatch: int | None = None
    """images that the networks see at a time, to fit a large batch into memory; the losses still see all of it"""
    seed: int = 0
    """of everything random"""
    optimization: Annotated[Optimization, tyro.conf.arg(name="")] = Optimization()
    """how the parameters follow the gradient"""
    dtype: str = "float32"
    """of the networks' arithmetic: float32 or bfloat16; parameters and losses stay float32"""
    log_every: int = 100
    """updates per row of metrics.jsonl"""
    checkpoint_every: int = 1000
    """updates per checkpoint"""
    on_nan: Literal["stop", "skip"] = "stop"
    """at a number that is not finite: stop the run, or skip the update. Its batch is kept in the run's nonfinite/"""

    def to_json(self) -> dict[str, Any]:
        """As nested dicts and lists of JSON values."""
        values = {**asdict(replace(self, hp=None)), "hp": self.hp._asdict()}  # type: ignore[attr-defined, arg-type]
        return json.loads(json.dumps(values))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. ValueError for another version's fields, and for values of another type."""
        try:
            entry = choose("method", check_type(values["method"], str), METHODS)
            hp = typed(entry.hyperparameters, values["hp"])
            options = typed(options_of(entry.build), values["options"])
            given: dict[str, Any] = {name: tuple(values[name]) for name in ("discriminator", "common")}
            given["optimization"] = typed(Optimization, values.get("optimization", {}))  # new in version 0.2
            return typed(cls, {**values, "hp": hp, "options": options, **given})
        except (TypeError, KeyError, TypeCheckError) as error:
            raise ValueError(f"this config.json was not written by this version of jaxvae: {error}") from error


def default_config(method: str, preset: str | None = None) -> Config[Any, Any]:
    """The method's own defaults, or those of one of its presets. ValueError for a name that there is not."""
    entry = choose("method", method, METHODS)
    hp, settings = entry.hyperparameters(), entry.settings
    if preset is not None:
        hp, settings = choose(f"preset of {method}", preset, entry.presets)
    options = options_of(entry.build)
    own = {field.name for field in dataclasses.fields(options)}
    return Config(
        method=method,
        hp=hp,
        options=options(**{name: value for name, value in settings.items() if name in own}),
        **{name: value for name, value in settings.items() if name not in own},
    )


@functools.cache
def options_of(build: Callable[..., Method]) -> type:
    """A dataclass of the keyword arguments, beyond those of all methods, that a command line can give to `build`.

    Those are arguments that are a number or one of some words; their help is their line in the docstring.
    """
    fields: list[tuple[str, Any, Any]] = []
    hints = get_type_hints(build)
    for name, parameter in inspect.signature(build).parameters.items():
        simple = [
            kind
            for kind in (get_args(hints[name]) if get_origin(hints[name]) is not Literal else ()) + (hints[name],)
            if kind in (int, float, bool) or get_origin(kind) is Literal
        ]
        if parameter.kind is parameter.KEYWORD_ONLY and simple and parameter.default is not parameter.empty:
            words = [line.strip() for line in (build.__doc__ or "").splitlines()]
            explained = next((line.removeprefix(f"{name}: ") for line in words if line.startswith(f"{name}: ")), "")
            kind = Annotated[simple[0], tyro.conf.arg(help=explained.replace("`", "") or None)]
            fields.append((name, kind, dataclasses.field(default=parameter.default)))
    return dataclasses.make_dataclass("Options", fields, frozen=True)


class Experiment(NamedTuple):
    """A Config made real."""

    source: Source
    method: Method


def check_config(config: Config[Any, Any]) -> None:
    """ValueError, in one line, for numbers that can't be."""
    for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("log_every", 1), ("checkpoint_every", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(config, name)}")
    if config.microbatch is not None and config.microbatch < 1:
        raise ValueError(f"--microbatch must be at least 1, got {config.microbatch}")
    if config.seed >= 2**32:
        raise ValueError(f"--seed must be below 2**32, got {config.seed}")
    for name, value in config.hp._asdict().items():
        if not math.isfinite(value):
            raise ValueError(f"hyperparameter {name} must be a finite number, got {value}")
        if name == "warmup" and value < 0:
            raise ValueError(f"warmup is a number of updates and must be >= 0, got {value}")
        if name.endswith("learning_rate") and value <= 0:
            raise ValueError(f"the {name.replace('_', ' ')} must be positive, got {value}")


def build(config: Config[Any, Any]) -> Experiment:
    """The source and the method that a Config names. ValueError, in one line, for what can't be."""
    check_config(config)
    source = open_data(
        config.data,
        image_size=config.image_size,
        skip_bad=config.skip_bad,
        texture=Path(config.texture) if config.texture else None,
    )
    if config.stream:
        if not isinstance(source, Table):
            raise ValueError(f"--stream is for images in files; {config.data} is drawn on the device")
        source = Streamed(source)
    if config.sampling == "epochs":
        source = Epochs(source)
    entry = choose("method", config.method, METHODS)
    if entry.special == "conditional prior":
        source = _conditioned(source, config)
    elif config.aux is not None:
        raise ValueError(f"--aux is for methods whose prior depends on a factor; that of {config.method} does not")
    if entry.special == "feature network":
        source = _in_classes(source, config)
    elif config.classify is not None or config.copies is not None or config.corruption:
        raise ValueError(
            f"--classify, --corruption and --copies are for methods that learn from classes; {config.method} does not"
        )
    aux_dim = source.aux_dim if isinstance(source, Conditioned) else 0
    networks = build_networks(config, source.image_shape, aux_dim=aux_dim, factor_sizes=source.factor_sizes)
    method = build_method(config, networks, source)
    if "image2" in method.needs:
        source = _in_pairs(source, config)
    elif config.shared is not None:
        raise ValueError(f"--shared is for methods that learn from pairs of images; {config.method} takes single ones")
    if "group" in method.needs:
        source = _in_groups(source, config)
    elif config.common:
        raise ValueError(f"--common is for methods that learn from groups of images; {config.method} takes single ones")
    if "labelled_image" in method.needs:
        if config.stream:
            raise ValueError(f"{config.method} keeps labelled images on the device: leave out --stream")
        source = few_labels(source, 100 if config.labels is None else config.labels, quality=config.label_quality)
    elif config.labels is not None or config.label_quality != "perfect":
        raise ValueError(
            f"--labels and --label-quality are for methods that learn from labels; {config.method} does not"
        )
    if "control" in method.needs:
        source = _cases_and_controls(source, config)
    elif config.effect is not None:
        raise ValueError(f"--effect is for methods that learn from cases and controls; {config.method} does not")
    return Experiment(source, method)


def build_method(config: Config[Any, Any], networks: Mapping[str, Network], source: Source) -> Method:
    """The method that a Config names, of these networks, for a source. ValueError, in one line, for what can't be."""
    build = choose("method", config.method, METHODS).build
    choices = asdict(config.options)
    if "likelihood" in inspect.signature(build).parameters:
        choices["likelihood"] = build_likelihood(config)
    if isinstance(source, Classified):
        choices["classes"] = source.classes
    elif isinstance(source, Augmented):
        choices["classes"] = config.batch_size // source.copies
    return config.optimization.of(build(networks, hyperparameters=config.hp, **choices), config.steps)


def build_networks(
    config: Config[Any, Any],
    image_shape: tuple[int, int, int],
    *,
    aux_dim: int = 0,
    factor_sizes: tuple[int, ...] = (),
) -> dict[str, Network]:
    """The networks that a Config's method needs, for images of a shape. ValueError for what can't be."""
    entry, dtype = choose("method", config.method, METHODS), choose("dtype", config.dtype, DTYPES)
    if entry.special in OWN_NETWORKS:
        choose(f"network of {config.method}", config.network, {"own": None})
        return OWN_NETWORKS[entry.special](image_shape, size=config.net_size, dtype=dtype)
    match entry.special:
        case "feature network":
            feature_kinds: dict[str, Literal["mlp", "resnet"]] = {"mlp-small": "mlp", "mlp": "mlp", "resnet": "resnet"}
            of_features = choose(f"network of {config.method}", config.network, feature_kinds)
            return {"encoder": feature_network(image_shape, config.latents, of_features, dtype)}
        case "latent adversarial networks":
            kinds: dict[str, Literal["mlp", "conv"]] = {"mlp-small": "mlp", "mlp": "mlp", "conv": "conv"}
            kind = choose(f"network of {config.method}", config.network, kinds)
            return latent_adversarial_networks(
                image_shape, config.latents, architecture=kind, size=config.net_size, dtype=dtype
            )
    choose("network", config.network, ARCHITECTURES)
    networks = autoencoder(config.network, image_shape, config.latents, dtype, aux_dim=aux_dim)
    if entry.logits:
        networks["discriminator"] = discriminator(config.latents, entry.logits, config.discriminator, dtype)
    match entry.special:
        case "conditional prior":
            networks["prior"] = conditional_prior(aux_dim, config.latents, dtype)
        case "grouped decoder":
            networks |= grouped_decoder(image_shape, config.latents, dtype=dtype)
        case "label networks":
            networks |= label_networks(factor_sizes, config.latents) if factor_sizes else {}
        case "mixture prior":
            networks["prior"] = mixture_prior(config.latents, config.components)
    return networks


def _conditioned(source: Source, config: Config[Any, Any]) -> Conditioned:
    if config.stream:
        raise ValueError(f"{config.method} reads factors with every image: leave out --stream")
    if not source.factor_names:
        raise ValueError(f"{config.method} needs a factor to depend on; those of {config.data} are not known")
    if config.aux is not None and config.aux not in source.factor_names:
        raise ValueError(f"no factor {config.aux!r} in {config.data}; there are {', '.join(source.factor_names)}")
    return Conditioned(source, (config.aux or source.factor_names[0],))


def _in_pairs(source: Source, config: Config[Any, Any]) -> Source:
    known = _by_factors(source, config, "pairs")
    return Pairs(known, len(known.factor_names) - 1 if config.shared is None else config.shared)


def _in_groups(source: Source, config: Config[Any, Any]) -> Source:
    known = _by_factors(source, config, "groups")
    return Groups(known, config.common or known.factor_names[:1], config.options.members)


def _cases_and_controls(source: Source, config: Config[Any, Any]) -> Source:
    if config.stream or config.sampling == "epochs":
        raise ValueError(f"{config.method} draws cases and controls: leave out --stream and --sampling epochs")
    if not source.factor_names:
        raise ValueError(f"{config.method} learns from cases and controls; the factors of {config.data} are not known")
    return case_control(source, config.effect or source.factor_names[0])


def _in_classes(source: Source, config: Config[Any, Any]) -> Source:
    if config.stream:
        raise ValueError(f"{config.method} reads classes with every image: leave out --stream")
    if config.copies is not None:
        if config.classify is not None or config.corruption:
            raise ValueError(
                "classes are copies of an image, --copies, or the values of a factor, --classify: not both"
            )
        return augmented(source, config.copies)
    if not source.factor_names:
        raise ValueError(f"the factors of {config.data} are not known: give --copies, for classes of altered copies")
    return classified(source, config.classify or source.factor_names[0], corruption=config.corruption)


def _by_factors(source: Source, config: Config[Any, Any], what: str) -> GroundTruth:
    if config.stream or config.sampling == "epochs":
        raise ValueError(f"{config.method} draws {what} of images: leave out --stream and --sampling epochs")
    if not isinstance(source, GroundTruth) or not source.factor_names:
        raise ValueError(f"{config.method} draws {what} by their factors; those of {config.data} are not known")
    return source


def choose(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """`options[name]`, or a ValueError that lists what there is and suggests the nearest."""
    if name in options:
        return options[name]
    raise ValueError(f"unknown {kind} {name!r}{_nearest(name, options)} There are: {', '.join(options)}.")


def _nearest(name: str, options: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, options, n=1)
    return f": did you mean {near[0]!r}?" if near else "."


def build_likelihood(config: Config[Any, Any]) -> Likelihood:
    """The likelihood that a Config names. ValueError for one that there is not, or a scale that is not positive."""
    make = choose("likelihood", config.likelihood, LIKELIHOODS)
    if config.likelihood == "bernoulli":
        return make()
    if not 0 < config.scale < math.inf:
        raise ValueError(f"the scale of the {config.likelihood} likelihood must be positive, got {config.scale}")
    return make(config.scale)
