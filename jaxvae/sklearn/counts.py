"""Estimators of counts, such as cells x genes."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from jaxvae.analysis import SplitEffects
from jaxvae.data.anndata import NotCounts
from jaxvae.runs.splits import effects_of
from jaxvae.schema import are_counts
from jaxvae.sklearn.columns import Kinds, is_frame
from jaxvae.sklearn.estimators import VectorAutoencoder


class CountVectorAutoencoder(VectorAutoencoder):
    """An estimator that takes sparse arrays, and finds out whether the whole of X holds counts."""

    def split_effects(self, X: Any) -> SplitEffects:
        """Measures what each latent does to each column that is learned from, in the rows of X and beyond.

        Its `top(names)` gives the columns that each direction of a latent raises most; `get_feature_names_learned` are
        their names.

        Raises:
          ValueError: The decoder does not have a split for each latent.
        """
        means = self._encoded(self._batch(X))
        found = effects_of(self._config, self._examples, self.state_.params, means)
        if found is None:
            raise ValueError(f"effects of latents need a split for each latent, got splits={self.splits}")
        return found

    def get_feature_names_learned(self) -> list[str]:
        """Returns the names of the columns that are learned from, without constant ones."""
        if self.schema_ is not None:
            return list(self.schema_.entry_names)
        return [f"x{d}" for d in range(self.n_features_in_)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _learn_columns(self, X: Any) -> Any:
        return super()._learn_columns(_dense(X))

    def _batch(self, X: Any) -> dict[str, np.ndarray]:
        return super()._batch(_dense(X))

    def _kinds_of(self, X: Any) -> Kinds:
        """Returns "count" for every column that varies, if all values are whole numbers and none is negative.

        Warns:
          NotCounts: No value is negative, and some are no whole numbers.
        """
        if self.kinds is not None:
            return self.kinds
        names = list(map(str, X.columns)) if is_frame(X) else [f"x{d}" for d in range(X.shape[1])]
        if is_frame(X) and not all(dtype.kind in "iuf" for dtype in X.dtypes if hasattr(dtype, "kind")):
            return None
        values = np.asarray(X, np.float64)
        known = values[~np.isnan(values)]
        if not len(known) or known.min() < 0 or known.max() <= 1:
            return None
        if are_counts(known):
            varies = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)
            return {name: "count" if some else "constant" for name, some in zip(names, varies, strict=True)}
        share = 100 * (known != np.round(known)).sum() / np.count_nonzero(known)
        warnings.warn(
            f"{share:.3g} % of the values other than 0 are no whole numbers: all values are read as real numbers, not "
            "as counts. If the counts are in a layer, fit that; kinds='real' keeps this without a warning",
            NotCounts,
            stacklevel=5,
        )
        return None


def _dense(X: Any) -> Any:
    return X.toarray() if sparse.issparse(X) else X
