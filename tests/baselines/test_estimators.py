"""What scikit-learn asks of any estimator, but of `Multilinear`: it learns from factors [n_samples, factors]."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from jaxvae.baselines import (
    CooperativeVQ,
    IndependentSubspaces,
    Infomax,
    MultipleCauseVQ,
    RecursiveICA,
    SelfOrganizingMap,
    VectorQuantizer,
)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        CooperativeVQ(2, 2, n_init=1, max_iter=5),
        # What is asked for is written once for all linear codes.
        pytest.param(IndependentSubspaces(subspace_size=1, max_iter=20, n_init=1), marks=pytest.mark.slow),
        Infomax(max_iter=50),
        # What is asked for is written once for both quantizers of several factors.
        pytest.param(MultipleCauseVQ(2, 2, n_init=1, max_iter=5), marks=pytest.mark.slow),
        RecursiveICA((1,)),
        SelfOrganizingMap((2, 2), max_iter=3),
        VectorQuantizer(2, n_init=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learn_agrees(estimator):
    check_estimator(estimator)
