"""Scores of codes [N, D] against known factors [N, K]: functions of arrays that know nothing of models."""

from jaxvae.metrics.dci import DCI, dci
from jaxvae.metrics.dci_es import DCIES, dci_es
from jaxvae.metrics.downstream import Downstream, downstream
from jaxvae.metrics.infomec import InfoMEC, infomec
from jaxvae.metrics.interventions import GridCodes, Intervention, SampledCodes, beta_vae_score, factor_vae_score
from jaxvae.metrics.irs import IRS, irs
from jaxvae.metrics.mcc import MCC, amari_index, mcc
from jaxvae.metrics.mig import MIG, mig
from jaxvae.metrics.modularity import Explicitness, Modularity, explicitness, modularity
from jaxvae.metrics.mutual_information import discretise, entropy, mutual_information_matrix
from jaxvae.metrics.registry import EXPENSIVE, METRICS, UNSUPERVISED, Metric, metric_named
from jaxvae.metrics.results import Result
from jaxvae.metrics.sampled_mig import SampledMIG, sampled_mig
from jaxvae.metrics.sap import SAP, sap
from jaxvae.metrics.udr import UDR, udr
from jaxvae.metrics.unsupervised import (
    Dependence,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    mutual_information_score,
)

__all__ = [
    "DCI",
    "DCIES",
    "EXPENSIVE",
    "IRS",
    "MCC",
    "METRICS",
    "MIG",
    "SAP",
    "UDR",
    "UNSUPERVISED",
    "Dependence",
    "Downstream",
    "Explicitness",
    "GridCodes",
    "InfoMEC",
    "Intervention",
    "Metric",
    "Modularity",
    "Result",
    "SampledCodes",
    "SampledMIG",
    "amari_index",
    "beta_vae_score",
    "dci",
    "dci_es",
    "discretise",
    "downstream",
    "entropy",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "infomec",
    "irs",
    "mcc",
    "metric_named",
    "mig",
    "modularity",
    "mutual_information_matrix",
    "mutual_information_score",
    "sampled_mig",
    "sap",
    "udr",
]
