"""Fits of many small scikit-learn models in parallel."""

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

T = TypeVar("T")


def in_threads(fit: Callable[..., T], arguments: Iterable[tuple[object, ...]]) -> list[T]:
    """Computes `fit(*a)` for each tuple of arguments, on all cores.

    Convergence warnings are suppressed, as metrics expect models that stop early. Each fit uses one thread of linear
    algebra: on matrices this small, more threads cost more than they save.
    """
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return Parallel(n_jobs=-1, prefer="threads")(delayed(fit)(*each) for each in arguments)
