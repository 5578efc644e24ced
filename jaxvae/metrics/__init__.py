"""Metrics of codes [N, D] against known factors [N, K]: functions of plain arrays, from any framework.

Each metric returns a result with its score, its parts, and the definition that was computed, since the literature
uses several definitions under the same name.

```python
import numpy as np
from jaxvae.metrics import GridCodes, dci, factor_vae_score, mig

factors = np.random.default_rng(0).integers(0, 4, (500, 2))
codes = factors + 0.1 * np.random.default_rng(1).normal(size=(500, 2))
mig(codes, factors).score, dci(codes, factors).importance
factor_vae_score(codes, factors).score  # batches are drawn from these examples
factor_vae_score(GridCodes(lambda factors: 2.0 * factors, factor_sizes=(4, 4))).score  # batches are encoded
```

- Codes and factors: `mig`, `mig_sup`, `jemmig`, `dcimig`, `med`, `sampled_mig` (of posteriors),
  `wasserstein_dependency_gap`, `sap`, `dci`, `modularity`, `explicitness`, `irs`, `infomec`, `mcc`, `beta_vae_score`,
  `factor_vae_score`, `z_max_variance`, `downstream`, `dci_es`
- Codes and classes, such as cell types: `class_matching`; `jaxvae.metrics.scib.scib`, with batches, by scib-metrics
- Codes only: `gaussian_total_correlation`, `gaussian_wasserstein_correlation`, `mutual_information_score`, `support`
- Codes and a decoder: `pipe`
- Several models: `udr`
- Unmixing matrices: `amari_index`

Where the public reference code and the paper differ, `convention="reference"` selects the former and
`convention="paper"` the latter (`factor_vae_score`, `infomec`, `irs`, `modularity`, `udr`). On eight kinds of codes,
the deterministic metrics agree with the reference code to 1e-6, and those with random draws or a learner agree within
its spread (tests/metrics/test_reference.py). `dci` grows the reference's trees with LightGBM; how far it agrees on
169 random cases is in benchmarks/README.md. `learner="scikit-learn"` uses the learner of the reference.

Factors are whole numbers, NaN or None where a value is missing: metrics leave out such an example for that factor, and
their definition says how many there are. `binning=Binning(10, "quantiles")` cuts continuous factors into bins, which
the definition also says; `mcc`, and with `binning` the continuous `sap` and the regressions of `dci`, take such factors
as they are. `information_gaps` computes the four gaps of mutual information in one pass.

`jaxvae train` prints the fast metrics. `jaxvae evaluate` computes all but `downstream`, `dci_es` and `pipe`,
which take longer: ask for them with `--metrics downstream dci_es pipe`.

A metric of your own is a function of codes and factors, or of codes only, that returns a `Result` or a number. Name
where it is, as in `--metrics mig my_package.my_metrics:gap`, or offer it by name through the entry-point group
`jaxvae.metrics`.

Metrics with a learner are fitted to some rows, drawn at random, and scored on others; their definition says how many.
`shuffle=False` splits rows by their position, as the reference does, and must not be given rows in grid order. Metrics
that compare factors are NaN, with a warning, if fewer than two vary. Confidence intervals are over resampled
examples, not over seeds. `score_stacked` in
`jaxvae.metrics.stacked` scores the codes of many models in one compiled call.
"""

from jaxvae.metrics.class_matching import ClassMatching, class_matching
from jaxvae.metrics.dci import DCI, dci
from jaxvae.metrics.dci_es import DCIES, dci_es
from jaxvae.metrics.downstream import Downstream, downstream
from jaxvae.metrics.draws import GridCodes, SampledCodes
from jaxvae.metrics.infomec import InfoMEC, infomec
from jaxvae.metrics.information_gaps import (
    InformationGap,
    InformationGaps,
    dcimig,
    information_gaps,
    jemmig,
    mig_sup,
)
from jaxvae.metrics.inputs import Binning
from jaxvae.metrics.interventions import Intervention, beta_vae_score, factor_vae_score, z_max_variance
from jaxvae.metrics.irs import IRS, irs
from jaxvae.metrics.mcc import MCC, amari_index, mcc
from jaxvae.metrics.med import MED, med
from jaxvae.metrics.mig import MIG, mig
from jaxvae.metrics.modularity import Explicitness, Modularity, explicitness, modularity
from jaxvae.metrics.mutual_information import discretise, entropy, mutual_information_matrix
from jaxvae.metrics.pipe import PIPE, pipe
from jaxvae.metrics.registry import (
    BY_NAME,
    EXPENSIVE,
    METRICS,
    OF_DECODERS,
    UNSUPERVISED,
    Metric,
    metric_named,
)
from jaxvae.metrics.results import Result
from jaxvae.metrics.sampled_mig import SampledMIG, sampled_mig
from jaxvae.metrics.sap import SAP, sap
from jaxvae.metrics.support import Support, support
from jaxvae.metrics.udr import UDR, udr
from jaxvae.metrics.unsupervised import (
    Dependence,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    mutual_information_score,
)
from jaxvae.metrics.wasserstein import WassersteinGap, wasserstein_dependency_gap

__all__ = [
    "BY_NAME",
    "DCI",
    "DCIES",
    "EXPENSIVE",
    "IRS",
    "MCC",
    "MED",
    "METRICS",
    "MIG",
    "OF_DECODERS",
    "PIPE",
    "SAP",
    "UDR",
    "UNSUPERVISED",
    "Binning",
    "ClassMatching",
    "Dependence",
    "Downstream",
    "Explicitness",
    "GridCodes",
    "InfoMEC",
    "InformationGap",
    "InformationGaps",
    "Intervention",
    "Metric",
    "Modularity",
    "Result",
    "SampledCodes",
    "SampledMIG",
    "Support",
    "WassersteinGap",
    "amari_index",
    "beta_vae_score",
    "class_matching",
    "dci",
    "dci_es",
    "dcimig",
    "discretise",
    "downstream",
    "entropy",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "infomec",
    "information_gaps",
    "irs",
    "jemmig",
    "mcc",
    "med",
    "metric_named",
    "mig",
    "mig_sup",
    "modularity",
    "mutual_information_matrix",
    "mutual_information_score",
    "pipe",
    "sampled_mig",
    "sap",
    "support",
    "udr",
    "wasserstein_dependency_gap",
    "z_max_variance",
]
