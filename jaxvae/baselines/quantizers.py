"""Discrete codes: one prototype per example, a sum of one codeword from each of several books, or one factor per
pixel.
"""

from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

MOST_STATES = 4096
"""Largest number of combinations of codewords that is searched exhaustively. Larger numbers are searched book by
book."""
SWEEPS = 10
"""Number of sweeps over the books when the combinations are not searched exhaustively."""


class _Quantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of discrete codes: integers with one column per factor, [n_samples, factors], int32."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _states(self, codes: Any, factors: int, states: int) -> np.ndarray:
        check_is_fitted(self)
        codes = check_array(codes, dtype=np.int32)
        if codes.shape[1] != factors or codes.min() < 0 or codes.max() >= states:
            raise ValueError(f"codes must be [n_samples, {factors}] of 0 to {states - 1}, got {codes.shape}")
        return codes


class VectorQuantizer(_Quantizer):
    """Vector quantization by k-means: the code of an example is the index of its nearest prototype.

    Args:
      n_codewords: Number of prototypes, at most the number of examples.
      n_init: Number of initializations, of which the best is kept.
      random_state: Random seed or generator: int, RandomState or None.

    After `fit`, the estimator has codebook_ [n_codewords, n_features] and inertia_ (the sum of squared distances).
    """

    def __init__(self, n_codewords: int = 16, *, n_init: int = 10, random_state: Any = None):
        self.n_codewords = n_codewords
        self.n_init = n_init
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the prototypes from the rows of X."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self._means = KMeans(self.n_codewords, n_init=self.n_init, random_state=self.random_state).fit(X)
        self.codebook_, self.inertia_ = self._means.cluster_centers_, float(self._means.inertia_)
        self._n_features_out = 1
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes the index of the nearest prototype: [n_samples, 1]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._means.predict(X)[:, None].astype(np.int32)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Returns the prototypes of codes [n_samples, 1]: [n_samples, n_features]."""
        return self.codebook_[self._states(codes, 1, self.n_codewords)[:, 0]]


class _FactorialQuantizer(_Quantizer):
    """Base class of models with several factors, each of which has its own state in every example."""

    def __init__(
        self,
        n_factors: int = 2,
        n_codewords: int = 4,
        *,
        max_iter: int = 100,
        n_init: int = 10,
        random_state: Any = None,
    ):
        self.n_factors = n_factors
        self.n_codewords = n_codewords
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def _data(self, X: Any) -> jax.Array:
        """Returns the training rows after checking the parameters."""
        if min(self.n_factors, self.n_codewords, self.max_iter, self.n_init) < 1:
            raise ValueError("n_factors, n_codewords, max_iter and n_init must be at least 1")
        least = max(2, self.n_codewords)
        return jnp.asarray(validate_data(self, X, dtype=np.float64, ensure_min_samples=least), jnp.float32)

    def _new(self, X: Any) -> jax.Array:
        check_is_fitted(self)
        return jnp.asarray(validate_data(self, X, dtype=np.float64, reset=False), jnp.float32)


class CooperativeVQ(_FactorialQuantizer):
    """Cooperative vector quantization: an example is a sum of one codeword from each book (Zemel, 1993).

        min sum_n |x_n - sum_p C_p[s_np]|^2

    Codewords compete within a book, and books add up. The states s are the best of all combinations if there are at
    most 4,096 of them; otherwise, they are optimized one book at a time, given the other books. The books are then
    fitted by least squares. A codeword that no example uses is set to the residual of the worst example. As a constant
    can move between books, all books but the first have mean 0.

    Args:
      n_factors: Number of books K.
      n_codewords: Number of codewords M in each book.
      max_iter: Number of steps.
      n_init: Number of initializations, of which the best is kept.
      random_state: Random seed or generator: int, RandomState or None.

    After `fit`, the estimator has codebooks_ [K, M, n_features] and loss_curve_ [max_iter] (means over examples), which
    never increases.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the books from the rows of X."""
        X = self._data(X)
        rng = check_random_state(self.random_state)
        chosen = np.stack(
            [
                [rng.choice(len(X), self.n_codewords, replace=False) for _ in range(self.n_factors)]
                for _ in range(self.n_init)
            ]
        )
        books, losses = _fit_books(X, X[chosen] / self.n_factors, self.max_iter)
        best = int(losses[:, -1].argmin())
        books, self.loss_curve_ = np.asarray(books[best], np.float64), np.asarray(losses[best])
        constant = books[1:].mean(axis=1)
        books[1:] -= constant[:, None]
        books[0] += constant.sum(axis=0)
        self.codebooks_, self.n_iter_ = books, self.max_iter
        self._n_features_out = self.n_factors
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes the state of every book: [n_samples, K]."""
        X = self._new(X)
        start = jnp.zeros((len(X), self.n_factors), jnp.int32)
        return np.asarray(_best_states(X, jnp.asarray(self.codebooks_, jnp.float32), start))

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Sums the codewords of codes [n_samples, K]: [n_samples, n_features]."""
        codes = self._states(codes, self.n_factors, self.n_codewords)
        return self.codebooks_[np.arange(self.n_factors), codes].sum(axis=1)


def _sum_of(books: jax.Array, states: jax.Array) -> jax.Array:
    """Sums the codewords of states: [K, M, F], [..., K] -> [..., F]."""
    return jax.vmap(lambda book, state: book[state], (0, -1))(books, states).sum(axis=0)


def _nearest(x: jax.Array, prototypes: jax.Array) -> jax.Array:
    """Returns the index of the nearest prototype: [N, F], [P, F] -> [N]."""
    return ((prototypes**2).sum(axis=1)[None] - 2 * x @ prototypes.T).argmin(axis=1).astype(jnp.int32)


@jax.jit
def _best_states(x: jax.Array, books: jax.Array, start: jax.Array) -> jax.Array:
    """Searches the best states of all books: rows [N, F], books [K, M, F], initial states [N, K] -> [N, K]."""
    factors, words, _ = books.shape
    if words**factors <= MOST_STATES:
        every = jnp.stack(jnp.meshgrid(*[jnp.arange(words)] * factors, indexing="ij"), axis=-1).reshape(-1, factors)
        return every[_nearest(x, _sum_of(books, every))].astype(jnp.int32)

    flat = books.reshape(factors * words, -1)
    shares = (x @ flat.T).reshape(len(x), factors, words)
    products = (flat @ flat.T).reshape(factors * words, factors, words)
    lengths = (books**2).sum(axis=2)

    def visit(states: jax.Array, book: jax.Array) -> tuple[jax.Array, None]:
        others = jax.nn.one_hot(states, words).at[:, book].set(0).reshape(len(x), -1)
        cost = lengths[book][None] - 2 * (shares[:, book] - others @ products[:, book])
        return states.at[:, book].set(cost.argmin(axis=1).astype(jnp.int32)), None

    states, _ = jax.lax.scan(visit, start, jnp.tile(jnp.arange(factors), SWEEPS))
    return states


@partial(jax.jit, static_argnames="steps")
@partial(jax.vmap, in_axes=(None, 0, None))
def _fit_books(x: jax.Array, start: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    factors, words, _ = start.shape

    def step(state: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        books, states = state
        states = _best_states(x, books, states)
        design = jax.nn.one_hot(states, words).reshape(len(x), -1)
        used = design.sum(axis=0) > 0
        fitted = (jnp.linalg.pinv(design.T @ design / len(x), hermitian=True) @ (design.T @ x / len(x))).reshape(
            books.shape
        )
        error = ((x - _sum_of(fitted, states)) ** 2).sum(axis=1)
        worst = error.argmax()
        own = fitted[jnp.arange(factors), states[worst]]
        left = (x[worst] - _sum_of(fitted, states[worst]))[None] + own
        books = jnp.where(used.reshape(factors, words, 1), fitted, left[:, None])
        return (books, states), error.mean()

    first = jnp.zeros((len(x), factors), jnp.int32)
    (books, _), losses = jax.lax.scan(step, (start, first), length=steps)
    return books, losses


class MultipleCauseVQ(_FactorialQuantizer):
    """Multiple cause vector quantization: every feature is explained by one factor (Ross & Zemel, 2002).

        F = sum_ndkj r_dk m_nkj (x_nd - mu_dkj)^2 / (2 s^2) + N D log s + sum m log m + sum r log r

    In every example, a factor k has one of J states, with posterior m. In all examples, a feature d belongs to one
    factor, with posterior r. F decreases with each step of m, r, mu and s in turn; r and m are softmaxes. We derived
    the steps from F instead of taking them from the paper.

    Args:
      n_factors: Number of factors K.
      n_codewords: Number of states J of each factor.
      max_iter: Number of rounds.
      n_init: Number of initializations, of which the one with the lowest F is kept.
      random_state: Random seed or generator: int, RandomState or None.

    After `fit`, the estimator has codebooks_ [K, J, n_features] (mu), responsibilities_ [n_features, K] (r), scale_ (s)
    and loss_curve_ [max_iter] (F divided by the number of examples), which never increases.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the states of every factor, and the factor of every feature, from the rows of X."""
        X = self._data(X)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        keys = jax.random.split(jax.random.key(seed), self.n_init)
        found, losses = _fit_causes(X, keys, self.n_factors, self.n_codewords, self.max_iter)
        best = int(jnp.nan_to_num(losses[:, -1], nan=jnp.inf).argmin())
        means, share, spread = (np.asarray(part[best], np.float64) for part in found)
        self.codebooks_, self.responsibilities_, self.scale_ = means, share, float(spread)
        self.loss_curve_, self.n_iter_ = np.asarray(losses[best]), self.max_iter
        self._n_features_out = self.n_factors
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes the most likely state of every factor: [n_samples, K]."""
        X = self._new(X)
        parts = (jnp.asarray(part, jnp.float32) for part in (self.codebooks_, self.responsibilities_))
        return np.asarray(_costs(X, *parts).argmin(axis=2), np.int32)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Reconstructs data from states: [n_samples, K] -> [n_samples, n_features]."""
        codes = self._states(codes, self.n_factors, self.n_codewords)
        return (self.codebooks_[np.arange(self.n_factors), codes] * self.responsibilities_.T).sum(axis=1)


def _costs(x: jax.Array, means: jax.Array, share: jax.Array) -> jax.Array:
    """Computes sum_d r_dk (x_nd - mu_kjd)^2: [N, K, J]."""
    square = jnp.einsum("dk,kjd->kj", share, means**2)
    cross = jnp.einsum("nd,dk,kjd->nkj", x, share, means)
    return (x**2 @ share)[:, :, None] - 2 * cross + square[None]


@partial(jax.jit, static_argnames=("factors", "words", "steps"))
@partial(jax.vmap, in_axes=(None, 0, None, None, None))
def _fit_causes(x: jax.Array, key: jax.Array, factors: int, words: int, steps: int) -> tuple[Any, jax.Array]:
    examples, features = x.shape
    first, second = jax.random.split(key)
    means = x[jax.random.randint(first, (factors, words), 0, examples)]
    share = jax.nn.softmax(0.1 * jax.random.normal(second, (features, factors)), axis=1)
    variance = x.var() + 1e-12

    def step(state: tuple[jax.Array, jax.Array, jax.Array], _: None) -> tuple[Any, jax.Array]:
        means, share, spread = state
        posterior = jax.nn.softmax(-_costs(x, means, share) / (2 * spread**2), axis=2)
        weight = posterior.sum(axis=0)[..., None]
        means = jnp.where(weight > 1e-6, jnp.einsum("nkj,nd->kjd", posterior, x) / jnp.maximum(weight, 1e-6), means)
        error = _errors(x, means, posterior)
        share = jax.nn.softmax(-error / (2 * spread**2), axis=1)
        total = (share * error).sum()
        spread = jnp.sqrt(jnp.maximum(total / (examples * features), 1e-4 * variance))
        free = total / (2 * spread**2) + examples * features * jnp.log(spread)
        free += jax.scipy.special.xlogy(posterior, posterior).sum() + jax.scipy.special.xlogy(share, share).sum()
        return (means, share, spread), free / examples

    state, losses = jax.lax.scan(step, (means, share, jnp.sqrt(variance)), length=steps)
    return state, losses


def _errors(x: jax.Array, means: jax.Array, posterior: jax.Array) -> jax.Array:
    """Computes sum_nj m_nkj (x_nd - mu_kjd)^2: [D, K]."""
    cross = jnp.einsum("nkj,kjd,nd->dk", posterior, means, x)
    square = jnp.einsum("kj,kjd->dk", posterior.sum(axis=0), means**2)
    return jnp.maximum((x**2).sum(axis=0)[:, None] - 2 * cross + square, 0)
