"""The methods as scikit-learn estimators for vectors: X [n_samples, n_features] in, posterior means out.

Every VAE that learns from single examples is an estimator, with its hyperparameters and choices as keyword
parameters. Methods that need groups, pairs, labels or an auxiliary variable are not.

```python
import numpy as np
from jaxvae.sklearn import VAESNE

X = np.random.default_rng(0).normal(size=(300, 8))
model = VAESNE(n_components=2, max_iter=200, random_state=0).fit(X)
codes, clusters = model.transform(X), model.predict(X)  # [300, 2], [300]
again, score = model.inverse_transform(codes), model.score(X)  # on the scale of X; nats per row
```

`VAE` and `VAESNE` pass all of scikit-learn's estimator checks. Estimators work in pipelines and can be pickled. Only
VAE-SNE has `predict` and `labels_`. At the default weight of its neighbour term, it often splits one cluster into
several; lower `sne` to get fewer.

One adapter serves all methods, and the lines at the end of the module derive a class for each.
"""

import inspect
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, check_scalar
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxvae.analysis import find_clusters
from jaxvae.choose import choose
from jaxvae.data import from_arrays
from jaxvae.method import Nets, Params
from jaxvae.methods import METHODS, likelihood_of
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import Config, check_config, default_config
from jaxvae.runs.options import options_of
from jaxvae.training import train

__all__ = [
    "DIPVAEI",
    "DIPVAEII",
    "IWAE",
    "OIVAE",
    "VAE",
    "VAESNE",
    "WAEGAN",
    "WAEMMD",
    "AnnealedVAE",
    "BetaTCVAE",
    "BetaVAE",
    "DecompositionVAE",
    "FactorVAE",
]

CHUNK = 512
"""Number of rows that a trained network processes at a time."""
LEAST_PROBABILITY = 1e-7
"""Distance that the expected values of the Bernoulli likelihood keep from 0 and 1 in the score."""
_COMMON: dict[str, Any] = {
    "n_components": 2,
    "network": "mlp-small",
    "likelihood": "gaussian",
    "scale": 1.0,
    "standardize": True,
    "max_iter": 5000,
    "batch_size": 256,
    "random_state": None,
    "verbose": False,
}
_DOC = """{summary}

    Args:
      n_components: Number of latents.
      {own}: See jaxvae.methods.{build}.{components}
      network: Architecture of the networks: "mlp", "mlp-small", "selu" or "xtanh".
      likelihood: Likelihood of a value given the code: "gaussian", "laplace", or "bernoulli" for values in [0, 1].
      scale: Standard deviation of the gaussian, or scale of the laplace likelihood, of standardized values.
      standardize: Whether to centre the features and divide them by their standard deviation (constant ones by 1).
      max_iter: Number of training steps.
      batch_size: Number of rows per step, drawn with replacement; at most the number of rows of X.
      random_state: Seed of all randomness: an int, a RandomState, or None.
      verbose: Whether to show a progress bar during the fit.

    After `fit`, the estimator has method_ (of jaxvae), state_ (TrainState), mean_ and scale_ of the features,
    loss_curve_ (means over 100 steps each), n_iter_, n_features_in_, and feature_names_in_ if X has names.{fitted}
    """


class VectorAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of all estimators: an autoencoder from `METHODS`, trained in memory on the rows of X."""

    _name: ClassVar[str]
    """Name of the method in `METHODS`."""

    def __init__(self, **params: Any):
        for name, value in params.items():
            setattr(self, name, value)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X.

        Args:
          X: Training data [n_samples, n_features], finite, with at least 3 rows.
          y: Ignored.

        Raises:
          ValueError: A parameter or the data are invalid; the message states the reason.
          NonFiniteLoss: Training diverged.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=3)
        self.__dict__.pop("state_", None)
        self._fitted_params = self.get_params(deep=False)
        self._fitted_params.pop("random_state")
        self._prepare()
        scaler = StandardScaler(with_mean=self.standardize, with_std=self.standardize).fit(X)
        self.mean_ = scaler.mean_ if self.standardize else np.zeros(X.shape[1])
        self.scale_ = scaler.scale_ if self.standardize else np.ones(X.shape[1])
        curve: list[float] = []
        self.state_ = train(
            self.method_,
            from_arrays(self._rows(X), name="X", real=True),
            steps=self.max_iter,
            batch_size=min(self.batch_size, len(X)),
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            writers=[lambda step, row: curve.append(row["loss"])],
            progress=bool(self.verbose),
        )
        self.loss_curve_ = curve
        self.n_iter_ = self.max_iter
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes posterior means: float32 [n_samples, n_components]."""
        rows = self._rows(self._checked(X))
        return self._in_chunks(self._encode, rows)

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Decodes codes Z [n_samples, n_components] into expected rows of X, on the scale of X."""
        check_is_fitted(self)
        Z, latents = check_array(Z, dtype=np.float32), self._n_features_out
        if Z.shape[1] != latents:
            raise ValueError(f"codes have {latents} columns here, got {Z.shape[1]}")
        rows = self._in_chunks(self._decode, Z)
        return rows * self.scale_ + self.mean_

    def score(self, X: Any, y: Any = None) -> float:
        """Computes the mean log-likelihood of the standardised rows of X given the posterior means of their codes, in
        nats per row.

        Higher is better. The score uses `likelihood` and `scale`, whatever loss the method is trained with. It does not
        include the cost of the code and is not a bound on the evidence, so methods with different priors, or without
        one, can be compared.
        """
        rows = self._rows(self._checked(X))
        return -float(self._in_chunks(self._nll, rows).mean(dtype=np.float64))

    @property
    def _n_features_out(self) -> int:
        return self._fitted_params["n_components"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state as NumPy arrays, without compiled programs and closures. They are rebuilt from the fitted
        parameters.
        """
        state = dict(super().__getstate__())
        for name in ("method_", "_encode", "_decode", "_nll"):
            state.pop(name, None)
        if "state_" in state:
            trained = state["state_"]
            state["state_"] = jax.device_get(trained._replace(key=jax.random.key_data(trained.key)))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "state_" in state:
            trained = jax.tree.map(jnp.asarray, self.state_)
            self.state_ = trained._replace(key=jax.random.wrap_key_data(trained.key))
            self._prepare()

    def _prepare(self) -> None:
        """Builds the method and its compiled functions from the parameters of the fit.

        Raises:
          ValueError: A parameter is invalid.
        """
        config = _config(self._name, self._fitted_params)
        shape = (self.n_features_in_,)
        networks = networks_of(config, _Rows(shape))
        method = build_method(config, networks, from_arrays(np.zeros((1, *shape), np.float32), real=True))
        likelihood = likelihood_of(self._fitted_params["likelihood"], self._fitted_params["scale"])

        def encode(params: dict[str, Params], rows: jax.Array) -> jax.Array:
            return method.encode(Nets(networks, params), {"x": rows}).mean

        def decode(params: dict[str, Params], codes: jax.Array) -> jax.Array:
            return method.decode(Nets(networks, params), codes)

        def nll(params: dict[str, Params], rows: jax.Array) -> jax.Array:
            expected = decode(params, encode(params, rows))
            if self._fitted_params["likelihood"] == "bernoulli":
                expected = jax.scipy.special.logit(jnp.clip(expected, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
            return likelihood.nll(expected, rows)

        self.method_ = method
        self._encode, self._decode, self._nll = jax.jit(encode), jax.jit(decode), jax.jit(nll)

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _rows(self, X: np.ndarray) -> np.ndarray:
        """Converts the rows to inputs of the networks.

        Raises:
          ValueError: Values are outside the range of the likelihood or of float32.
        """
        if self._fitted_params["likelihood"] == "bernoulli" and (X.min() < 0 or X.max() > 1):
            raise ValueError(
                f"the bernoulli likelihood is for values in [0, 1], found {X.min():g} to {X.max():g}: rescale them"
            )
        with np.errstate(over="ignore"):
            rows = ((X - self.mean_) / self.scale_).astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError("X holds values too large for float32")
        return rows

    def _in_chunks(self, program: Any, rows: np.ndarray) -> np.ndarray:
        """Computes `program(params, rows)` in chunks of full size.

        The program is compiled once, and the result of a row does not depend on the other rows.
        """
        parts = []
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            full = np.zeros((CHUNK, *rows.shape[1:]), np.float32)
            full[: len(chunk)] = chunk
            parts.append(np.asarray(program(self.state_.params, full))[: len(chunk)])
        return np.concatenate(parts)


class ClusteringVectorAutoencoder(VectorAutoencoder):
    """An estimator for a method whose prior is a mixture. It also finds clusters."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X, as `VectorAutoencoder.fit` does, and finds clusters.

        It sets clusters_, and labels_ of the rows of X.
        """
        super().fit(X)
        for stale in ("clusters_", "labels_"):
            self.__dict__.pop(stale, None)
        if "prior" in self.method_.networks:
            self.clusters_ = find_clusters(*Nets(self.method_.networks, self.state_.params).prior())
            self.labels_ = self.predict(X)
        return self

    @available_if(lambda self: getattr(self, "_fitted_params", vars(self))["space"] != "sphere")
    def predict(self, X: Any) -> np.ndarray:
        """Predicts the cluster of each row from the component most responsible for its posterior mean: int [n_samples].

        Components are merged by `jaxvae.analysis.find_clusters`. A spherical latent space has no clusters.
        """
        codes = self.transform(X)
        return self.clusters_.of_points(codes)


class _Rows(NamedTuple):
    """The data properties that networks depend on."""

    event_shape: tuple[int, ...]
    factor_sizes: tuple[int, ...] = ()


T = TypeVar("T", bound=VectorAutoencoder)


def _config(name: str, params: Mapping[str, Any]) -> Config[Any, Any, Any, Any]:
    """Converts the parameters of an estimator to a configuration.

    Raises:
      TypeError: A parameter has the wrong type.
      ValueError: A parameter has an invalid value.
    """
    entry = METHODS[name]
    for size in ("n_components", "max_iter", "batch_size", "components"):
        if size in params:
            check_scalar(params[size], size, Integral, min_val=1)
    for field in (*entry.hyperparameters()._fields, "scale"):
        check_scalar(params[field], field, Real)
    for option, kind in get_type_hints(options_of(entry)).items():
        if get_origin(kind) is Literal:
            choose(option, params[option], dict.fromkeys(get_args(kind)))
    if params["likelihood"] == "bernoulli" and params["standardize"]:
        raise ValueError("the bernoulli likelihood is for values in [0, 1] as they are: set standardize=False")
    renamed = {"n_components": "latents", "max_iter": "steps"}
    flags = {
        renamed.get(key, key): value
        for key, value in params.items()
        if key not in ("standardize", "verbose", "random_state")
    }
    idle = default_config(name).with_flags(**flags).idle()
    config = default_config(name).with_flags(**{flag: flags[flag] for flag in flags if flag not in idle})
    check_config(config)
    return config


def _estimator(name: str, base: type[T]) -> type[T]:
    """Derives the estimator class of a method.

    Its keyword parameters are the method's hyperparameters and options, in a signature that scikit-learn can read.
    """
    entry = METHODS[name]
    common = _COMMON | {key: value for key, value in entry.defaults.items() if key in _COMMON}
    mixture = {"components": 100} if "components" in entry.networks.__dataclass_fields__ else {}
    own = {**entry.hyperparameters()._asdict(), **vars(options_of(entry)())}
    own = {key: value for key, value in own.items() if key not in common}
    defaults = {"n_components": common.pop("n_components"), **own, **mixture, **common}
    keywords = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=defaults[key]) for key in defaults]
    signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *keywords])

    def __init__(self: T, **params: Any) -> None:
        signature.bind(self, **params)
        VectorAutoencoder.__init__(self, **(defaults | params))

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    title = entry.hyperparameters.__name__
    doc = _DOC.format(
        summary=inspect.getdoc(entry.build).splitlines()[0],  # type: ignore[union-attr]
        own=", ".join(own),
        build=entry.build.__name__,
        components="\n      components: Number of components of the mixture prior." if mixture else "",
        fitted=" Also clusters_ (see\n    jaxvae.analysis.find_clusters) and labels_, except on a sphere."
        if mixture
        else "",
    )
    members = {"__init__": __init__, "__doc__": doc, "__module__": __name__, "_name": name}
    return type(title, (base,), members)


VAE = _estimator("vae", VectorAutoencoder)
BetaVAE = _estimator("beta-vae", VectorAutoencoder)
AnnealedVAE = _estimator("annealed-vae", VectorAutoencoder)
BetaTCVAE = _estimator("beta-tc-vae", VectorAutoencoder)
FactorVAE = _estimator("factor-vae", VectorAutoencoder)
DIPVAEI = _estimator("dip-vae-i", VectorAutoencoder)
DIPVAEII = _estimator("dip-vae-ii", VectorAutoencoder)
DecompositionVAE = _estimator("decomposition-vae", VectorAutoencoder)
WAEMMD = _estimator("wae-mmd", VectorAutoencoder)
WAEGAN = _estimator("wae-gan", VectorAutoencoder)
IWAE = _estimator("iwae", VectorAutoencoder)
OIVAE = _estimator("oi-vae", VectorAutoencoder)
VAESNE = _estimator("vae-sne", ClusteringVectorAutoencoder)
