"""Estimators: an autoencoder from `METHODS`, trained in memory on the rows of X."""

from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxvae.analysis import find_clusters
from jaxvae.data import Epochs, Source, Subset, Table
from jaxvae.data.batches import refuse_empty_rows
from jaxvae.data.tabular import schema_on
from jaxvae.losses import group_norms
from jaxvae.method import Batch, Method, Nets, Params
from jaxvae.methods import likelihood_for
from jaxvae.networks import column_groups
from jaxvae.runs.absent import Absent
from jaxvae.runs.build import build_method, build_without_data
from jaxvae.runs.config import Config
from jaxvae.schema import Schema
from jaxvae.sklearn.columns import (
    Kinds,
    categories_of,
    expected_columns,
    is_frame,
    rows_of,
    schema_of_array,
    schema_of_frame,
    table_of,
    tolerant,
    warn_of_counts,
)
from jaxvae.sklearn.fitting import fit, rows_to_train_on
from jaxvae.sklearn.settings import IN_UNIT_INTERVAL, config_of, defaults_of
from jaxvae.training import TrainState

CHUNK = 512
"""Number of rows that a trained network processes at a time."""
LEAST_ROWS = 3


class VectorEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of all estimators: an encoder from `METHODS`, trained in memory on the rows of X."""

    _name: ClassVar[str]
    """Name of the method in `METHODS`."""
    _config: Config[Any, Any, Any, Any]
    """Configuration of the fit."""
    schema_: Schema | None
    method_: Method
    state_: TrainState

    def __init__(self, **params: Any):
        for name, value in params.items():
            setattr(self, name, value)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X.

        Args:
          X: Training data [n_samples, n_features], with at least 3 rows: an array of finite numbers and NaN, or a
            DataFrame.
          y: Ignored.

        Raises:
          ValueError: A parameter or the data are invalid; the message states the reason.
          NonFiniteLoss: Training diverged.
        """
        return self._fit(X, (), None)

    def transform(self, X: Any) -> Any:
        """Computes posterior means: float32 [n_samples, n_components]."""
        return self._encoded(self._batch(X))

    def save(self, folder: Path | str) -> None:
        """Saves the fitted estimator as a run folder, which `load` and the command `jaxvae encode` read.

        The folder holds the configuration, the columns of X, the parameters and the training history as JSON and a
        checkpoint, and neither code nor X.

        Raises:
          NotFittedError: The estimator is not fitted.
          RunFolderError: The folder has files in it, or cannot be written.
        """
        from jaxvae.sklearn.folders import save

        check_is_fitted(self)
        save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, checkpoint: str | int = "latest") -> Self:
        """Loads an estimator from a run folder, of `save` or of the command `jaxvae train`.

        Args:
          folder: Folder of the run.
          checkpoint: "latest", "best" or a step.

        Raises:
          RunFolderError: There is no run in the folder, or it is damaged.
          ValueError: The run is of another method, or was not trained on vectors or a table.
        """
        from jaxvae.sklearn.folders import load

        return load(cls, Path(folder), checkpoint)

    @property
    def _named(self) -> bool:
        """Whether columns must have names, also where X holds real numbers only."""
        return False

    @property
    def _n_features_out(self) -> int:
        return self._config.networks.latents

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state as NumPy arrays and JSON values, without compiled programs and closures. They are rebuilt
        from the configuration.
        """
        state = dict(super().__getstate__())
        for name in ("method_", "_encode", "_decode", "_nll", "_examples"):
            state.pop(name, None)
        if "state_" in state:
            trained = state["state_"]
            state["state_"] = jax.device_get(trained._replace(key=jax.random.key_data(trained.key)))
            state["_config"] = self._config.to_json()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(defaults_of(type(self)) | state)  # older pickles lack newer parameters
        if "state_" in state:
            trained = jax.tree.map(jnp.asarray, self.state_)
            self.state_ = trained._replace(key=jax.random.wrap_key_data(trained.key))
            self._config = Config.from_json(state["_config"])
            self._prepare()

    def _fit(self, X: Any, label_names: tuple[str, ...], factors: np.ndarray | None) -> Self:
        """Trains on the rows of X, whose labels are the factors [n_samples, K] of these names."""
        for stale in ("state_", "mean_", "scale_", "clusters_", "labels_", "loadings_", "group_names_"):
            self.__dict__.pop(stale, None)
        X = self._learn_columns(X)
        self.n_samples_ = len(next(iter(X.values()))) if isinstance(X, dict) else len(X)
        self._factors = label_names, () if factors is None else tuple(int(n) + 1 for n in factors.max(axis=0))
        params = self.get_params(deep=False)
        self._judged_by = params.get("likelihood", "gaussian"), params.get("scale", 1.0)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        learned: Any = slice(None)
        if self.early_stopping:
            learned, held_out = rows_to_train_on(self.n_samples_, self.validation_fraction, seed)
        vectors = self.schema_ is None
        if self.schema_ is not None and self.early_stopping and self.standardize:
            self.schema_ = schema_on(self._source(self._rows(X), None), learned) or self.schema_
        self._config = config_of(self._name, params, schema=self.schema_, seed=seed, labels=label_names)
        self._prepare()
        if vectors:
            scaler = StandardScaler(with_mean=self.standardize, with_std=self.standardize).fit(X[learned])
            self.mean_ = scaler.mean_ if self.standardize else np.zeros(X.shape[1])
            self.scale_ = scaler.scale_ if self.standardize else np.ones(X.shape[1])
            if self.standardize and params.get("likelihood") == "auto":
                warn_of_counts(X)
        source, validation = self._source(self._rows(X), factors), None
        if params.get("library") == "rows":
            refuse_empty_rows(source, type(self).__name__)
        if self.early_stopping:
            validation = self._wrapped(Epochs(Subset(source, held_out)), held_out)
            source = Subset(source, learned)
        batch_size = min(self.batch_size, source.size)
        training = self._wrapped(source, np.arange(self.n_samples_)[learned])
        self.state_, history = fit(self.method_, training, validation, params, batch_size=batch_size, seed=seed)
        self._summarize(history)
        return self

    def _source(self, rows: np.ndarray, factors: np.ndarray | None) -> Any:
        """The rows [n_samples, D] as a source of data."""
        names, sizes = self._factors if factors is not None else ((), ())
        return Table("X", rows, factors, rows.shape[1:], names, sizes, "floats", schema=self.schema_)

    def _summarize(self, history: list[dict[str, Any]]) -> None:
        """Sets the attributes that follow from the trained state and the rows of metrics."""
        self._history = history
        self.loss_curve_ = [row["loss"] for row in history]
        self.validation_curve_ = [row["validation_loss"] for row in history if "validation_loss" in row]
        self.n_iter_ = int(self.state_.step)

    def _wrapped(self, source: Source, rows: np.ndarray) -> Source:
        """Wraps a source of some rows of X, with these indices, as the method needs it."""
        return self._config.batches.wrap(source, self._name)

    def _learn_columns(self, X: Any) -> Any:
        """Validates X, sets schema_ and returns what `_rows` takes: columns of a table, or an array of vectors."""
        self._from_frame, self.schema_ = is_frame(X), None
        self._categories = {}
        if self._from_frame and len(X) >= LEAST_ROWS:
            self.schema_ = schema_of_frame(X, self._kinds_of(X), standardize=self.standardize, named=self._named)
        if self.schema_ is not None:
            validate_data(self, X, skip_check_array=True)
        else:
            X = validate_data(self, X, dtype=np.float64, ensure_min_samples=LEAST_ROWS, ensure_all_finite="allow-nan")
            if not self._from_frame:
                self.schema_ = schema_of_array(X, self._kinds_of(X), standardize=self.standardize, named=self._named)
        if self.schema_ is None:
            return X
        self._categories = categories_of(self.schema_, X)
        return table_of(X)

    def _kinds_of(self, X: Any) -> Kinds:
        """Returns the kinds of the columns of X that are not found by their values."""
        return self.kinds

    def _prepare(self) -> None:
        """Builds the method and its compiled functions from the configuration of the fit.

        Raises:
          ValueError: A parameter is invalid.
        """
        schema = self.schema_
        shape = (self.n_features_in_ if schema is None else schema.width,)
        names, sizes = self._factors
        absent = Absent("X", shape, names, sizes, self.n_samples_, schema, "an estimator does not keep X")
        source, method = build_without_data(self._config, absent)

        def encode(params: dict[str, Params], batch: Batch) -> jax.Array:
            return method.encode(Nets(method.networks, params), batch).mean

        self.method_, self._examples, self._encode = method, source, jax.jit(encode)
        self._prepare_decoder(source, shape)

    def _prepare_decoder(self, source: Source, shape: tuple[int, ...]) -> None:
        """Builds the compiled functions of the decoder, if there is one, for rows of this shape."""

    def _batch(self, X: Any) -> dict[str, np.ndarray]:
        """Validates X and returns what the encoder sees of it."""
        check_is_fitted(self)
        if self.schema_ is None:
            return {"x": self._rows(validate_data(self, X, dtype=np.float64, reset=False))}
        if is_frame(X):
            validate_data(self, X, reset=False, skip_check_array=True)
        else:
            X = validate_data(self, X, dtype=None, reset=False, ensure_all_finite="allow-nan")
        return {"x": self._rows(table_of(X, [column.name for column in self.schema_.columns]))}

    def _rows(self, X: Any) -> np.ndarray:
        """Converts vectors or the columns of a table to inputs of the networks.

        Raises:
          ValueError: Values are outside the range of the likelihood or of float32.
        """
        if self.schema_ is not None:
            return rows_of(self.schema_, X)
        if self._judged_by[0] in IN_UNIT_INTERVAL and (X.min() < 0 or X.max() > 1):
            raise ValueError(
                f"the {self._judged_by[0]} likelihood is for values in [0, 1], found {X.min():g} to {X.max():g}: "
                "rescale them"
            )
        with np.errstate(over="ignore"):
            rows = ((X - self.mean_) / self.scale_).astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError("X holds values too large for float32")
        return rows

    def _encoded(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        return self._in_chunks(self._encode, batch)

    def _in_chunks(self, program: Any, rows: Any) -> np.ndarray:
        """Computes `program(params, rows)` in chunks of full size. The rows are one array, or several by name.

        The program is compiled once, and the result of a row does not depend on the other rows.
        """
        count = len(jax.tree.leaves(rows)[0])
        parts = []
        for first in range(0, count, CHUNK):

            def full(values: np.ndarray, first: int = first) -> np.ndarray:
                chunk = values[first : first + CHUNK]
                return np.concatenate([chunk, np.zeros((CHUNK - len(chunk), *chunk.shape[1:]), np.float32)])

            parts.append(np.asarray(program(self.state_.params, jax.tree.map(full, rows)))[: count - first])
        return np.concatenate(parts)


class VectorAutoencoder(VectorEncoder):
    """An estimator for a method that also decodes codes."""

    def inverse_transform(self, Z: Any) -> Any:
        """Decodes codes Z [n_samples, n_components] into expected rows of X, on the scale of X.

        Vectors give an array. A table gives the columns that were learned from, as a DataFrame if X was one: the
        probability of the second value of a binary column, and the likeliest category of a categorical one. Constant
        columns and identifiers are left out. With library="rows", expected counts sum to those of a mean row.
        """
        check_is_fitted(self)
        index = getattr(Z, "index", None)
        Z, latents = check_array(Z, dtype=np.float32), self._n_features_out
        if Z.shape[1] != latents:
            raise ValueError(f"codes have {latents} columns here, got {Z.shape[1]}")
        rows = self._in_chunks(self._decode, Z)
        if self.schema_ is None:
            return rows * self.scale_ + self.mean_
        columns = expected_columns(self.schema_, self._categories, rows)
        if not self._from_frame:
            return np.column_stack(list(columns.values()))
        import pandas

        return pandas.DataFrame(columns, index=index)

    def score(self, X: Any, y: Any = None) -> float:
        """Computes the mean log-likelihood of the standardised rows of X given the posterior means of their codes, in
        nats per row. Missing values count nothing.

        Higher is better. The score uses the likelihood of the fit, whatever loss the method is trained with. It does
        not include the cost of the code and is not a bound on the evidence, so methods with different priors, or
        without one, can be compared.
        """
        return self._scored(self._batch(X))

    def _prepare_decoder(self, source: Source, shape: tuple[int, ...]) -> None:
        method, networks = self.method_, self.method_.networks
        raw = build_method(self._config, networks, source, raw=True)
        known = None if self.schema_ is None else tolerant(self.schema_)
        likelihood, encode = likelihood_for(*self._judged_by, shape, known), self._encode

        def decode(params: dict[str, Params], codes: jax.Array) -> jax.Array:
            return method.decode(Nets(networks, params), codes)

        def nll(params: dict[str, Params], batch: Batch) -> jax.Array:
            net = Nets(networks, params)
            return likelihood.nll(raw.expected(net, encode(params, batch), batch), batch["x"])

        self._decode, self._nll = jax.jit(decode), jax.jit(nll)

    def _scored(self, batch: dict[str, np.ndarray]) -> float:
        return -float(self._in_chunks(self._nll, batch).mean(dtype=np.float64))


class ClusteringVectorAutoencoder(VectorAutoencoder):
    """An estimator for a method whose prior is a mixture. It also finds clusters."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X, as `VectorAutoencoder.fit` does, and finds clusters.

        It sets clusters_, and labels_ of the rows of X.
        """
        super().fit(X)
        if "prior" in self.method_.networks:
            self.labels_ = self.predict(X)
        return self

    @available_if(lambda self: self._space != "sphere")
    def predict(self, X: Any) -> np.ndarray:
        """Predicts the cluster of each row from the component most responsible for its posterior mean: int [n_samples].

        Components are merged by `jaxvae.analysis.find_clusters`. A spherical latent space has no clusters.
        """
        codes = self._encoded(self._batch(X))
        return self.clusters_.of_points(codes)

    @available_if(lambda self: self._space != "sphere")
    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Trains from scratch on the rows of X and returns their clusters: int [n_samples]."""
        return self.fit(X).labels_

    @property
    def _space(self) -> str:
        return self._config.options.space if hasattr(self, "_config") else self.space

    def _summarize(self, history: list[dict[str, Any]]) -> None:
        super()._summarize(history)
        if "prior" in self.method_.networks:
            self.clusters_ = find_clusters(*Nets(self.method_.networks, self.state_.params).prior())


class GroupedVectorAutoencoder(VectorAutoencoder):
    """An estimator for a method whose decoder has a part for each group of entries of a row."""

    groups: Any

    @property
    def _named(self) -> bool:
        return self.groups is not None

    def _summarize(self, history: list[dict[str, Any]]) -> None:
        super()._summarize(history)
        weights = self.state_.params["loadings"]["weights"]
        self.loadings_ = np.asarray(group_norms(weights))
        if self.schema_ is None:
            names = getattr(self, "feature_names_in_", [f"x{d}" for d in range(self.n_features_in_)])
        else:
            names = list(column_groups(self.schema_, self._config.networks.groups))
        self.group_names_ = np.array(names, object)
