"""The methods as scikit-learn estimators: X [n_samples, n_features] in, posterior means out.

Every VAE that learns from single examples is an estimator, with its hyperparameters and choices as keyword
parameters; so are three methods that learn from labels. Methods that need groups or pairs are not.

```python
import numpy as np
from jaxvae.sklearn import VAESNE

X = np.random.default_rng(0).normal(size=(300, 8))
model = VAESNE(n_components=2, max_iter=200, random_state=0).fit(X)
codes, clusters = model.transform(X), model.predict(X)  # [300, 2], [300]
again, score = model.inverse_transform(codes), model.score(X)  # on the scale of X; nats per row
```

`VAE` and `VAESNE` pass all of scikit-learn's estimator checks. Estimators work in pipelines and can be pickled. Only
VAE-SNE has `predict`, `fit_predict` and `labels_`. At the default weight of its neighbour term, it often splits one
cluster into several; lower `sne` to get fewer. The oi-VAE has `loadings_`, the strength of each latent in each group of
values, and `group_names_`. `OIVAE(groups={"x0": "left", "x1": "left", "x2": "right"})` and `groups="prefix"` give
groups of columns, and make a table of X.

## Vectors and tables

X holds vectors if it is an array of finite numbers, or a DataFrame of real numbers without missing values. Vectors are
standardized, and have the gaussian likelihood with the standard deviation `scale` unless another one is given. Counts
in an array are treated like this as well, with a warning.

Any other X is a table: a DataFrame with counts, binary or categorical columns or missing values, an array with NaN, or
an array whose `kinds` are given. The kinds of the columns of a DataFrame are found by their values, as the command line
does: real, count, binary, categorical; constant columns and identifiers are left out. `kinds={"age": "real"}` changes
some of them, and `kinds="count"` is for all columns, such as an array of cells x genes. Columns of an array are real
unless `kinds` says otherwise; their names are x0, x1 and so on. Each kind has its likelihood: real columns are gaussian
with a learned standard deviation each, counts negative-binomial, binary columns Bernoulli and categorical ones
categorical. `likelihood` gaussian or laplace is for the real columns, with the fixed `scale`; poisson,
negative-binomial or zero-inflated is for the counts. Counts are not standardized. The likelihood of a row is that of
its observed values, and the encoder sees zeros and which values are missing.

```python
import numpy as np
import pandas as pd
from jaxvae.sklearn import VAE

rng = np.random.default_rng(0)
table = pd.DataFrame({
    "size": np.where(np.arange(300) % 9 == 0, np.nan, rng.normal(size=300)),  # some are missing
    "spikes": rng.poisson(3.0, size=300),
    "colour": np.array(["red", "green", "blue"])[np.arange(300) % 3],
})
model = VAE(max_iter=200, random_state=0).set_output(transform="pandas").fit(table)
print(model.schema_)  # the kinds of the columns
codes = model.transform(table)  # a DataFrame with the columns vae0 and vae1
print(model.inverse_transform(codes).head())  # a DataFrame with the columns of the table
```

As everywhere in scikit-learn, new rows must have the same columns in the same order.

`DRVI` is for cells x genes: it takes sparse arrays as well, such as `adata.X`, and finds counts by itself. X holds
counts if all of its values are whole numbers, none is negative and some are above 1; give `kinds="count"` otherwise.
`split_effects` says what each latent does to each gene. `jaxvae.anndata` takes AnnData objects, with batches and size
factors.

```python
import numpy as np
from scipy import sparse
from jaxvae.sklearn import DRVI

counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (200, 30)))
model = DRVI(n_components=8, max_iter=50, random_state=0).fit(counts)
print(model.transform(counts).shape, model.split_effects(counts).top([f"gene{g}" for g in range(30)], 3))
```

`early_stopping=True` holds out a tenth of the rows, and stops after `patience` validations without a lower loss.

## Labels

`IVAE().fit(X, y)` learns a prior for each label of y, such as a class or a time segment. Its encoder sees the labels of
new rows as well, `transform(X, y)`, unless `encoder="marginal"`. `SemiSupervisedVAE().fit(X, y)` ties its k-th latent
to the k-th column of y; rows whose label is -1 or missing have none. `MCR2().fit(X, y)` learns features whose classes
span orthogonal subspaces; it has no `inverse_transform` and no `score`.

## Run folders

`model.save(folder)` writes a run folder, with JSON and a checkpoint in it and nothing pickled, and
`VAE.load(folder)` reads it. `load` also reads a run of `jaxvae train` on a table or on vectors.

One adapter serves all methods, and the lines at the end of the module derive a class for each.
"""

import inspect
from typing import Any, TypeVar

from jaxvae.methods import METHODS
from jaxvae.runs.options import options_of
from jaxvae.sklearn.columns import StandardizedCounts
from jaxvae.sklearn.counts import CountVectorAutoencoder
from jaxvae.sklearn.estimators import (
    ClusteringVectorAutoencoder,
    GroupedVectorAutoencoder,
    VectorAutoencoder,
    VectorEncoder,
)
from jaxvae.sklearn.labels import ClassEncoder, ConditionalVectorAutoencoder, SemiSupervisedVectorAutoencoder

__all__ = [
    "DIPVAEI",
    "DIPVAEII",
    "DRVI",
    "HFSVAE",
    "IVAE",
    "IWAE",
    "MCR2",
    "OIVAE",
    "QLAE",
    "VAE",
    "VAESNE",
    "WAEGAN",
    "WAEMMD",
    "AnnealedVAE",
    "BetaTCVAE",
    "BetaVAE",
    "ControlVAE",
    "DecompositionVAE",
    "FactorQVAE",
    "FactorVAE",
    "SemiSupervisedVAE",
    "StandardizedCounts",
    "Tripod",
]

_COMMON: dict[str, Any] = {
    "n_components": 2,
    "network": "mlp-small",
    "likelihood": "auto",
    "scale": 1.0,
    "library": "none",
    "standardize": True,
    "kinds": None,
    "max_iter": 5000,
    "batch_size": 256,
    "early_stopping": False,
    "validation_fraction": 0.1,
    "validate_every": 100,
    "patience": 5,
    "random_state": None,
    "verbose": False,
}
_DOC = """{summary}

    Args:
      n_components: Number of latents.
      {own}: See jaxvae.methods.{build}.{components}
      {decoder}
      standardize: Whether to centre real features and divide them by their standard deviation (constant ones by 1).
      kinds: Kinds of columns by name, where their values do not tell, or one kind for all columns: "real", "count",
        "binary", "categorical", "constant" or "identifier".
      max_iter: Number of training steps.
      batch_size: Number of rows per step, drawn with replacement; at most the number of rows of X.
      early_stopping: Whether to hold out rows, to stop when their loss no longer falls, and to keep the parameters of
        its lowest value.
      validation_fraction: Share of the rows that are held out, if early_stopping.
      validate_every: Number of steps between validations, if early_stopping.
      patience: Number of validations without a new lowest loss after which training stops, if early_stopping.
      random_state: Seed of all randomness: an int, a RandomState, or None.
      verbose: Whether to show a progress bar during the fit.

    After `fit`, the estimator has method_ (of jaxvae), state_ (TrainState), schema_ (columns of a table, None for
    vectors), mean_ and scale_ of vectors, loss_curve_ (means over 100 steps each), validation_curve_
    (losses of the rows held out), n_iter_, n_samples_, n_features_in_, and feature_names_in_ if X has names.{fitted}
    """
_DECODER = """network: Architecture of the networks: "mlp", "mlp-small", "selu", "gelu" or "xtanh".
      likelihood: Likelihood of a value given the code. For vectors: "gaussian" ("auto" is the same), "laplace",
        or, for values in [0, 1] with standardize=False, "bernoulli" or "continuous-bernoulli". For tables, "auto" is a
        likelihood for each kind of column; "gaussian" and "laplace" are for the real columns, "bernoulli" for
        the binary ones, and "poisson", "negative-binomial" and "zero-inflated" for the counts.
      scale: Standard deviation of the gaussian, or scale of the laplace likelihood, of standardized values. With the
        likelihood "auto", each real column of a table has a learned standard deviation instead.
      library: Where the sum of the expected counts of a row comes from, if several columns are counts: the decoder
        ("none"), or the row's own counts ("rows"), so that the code need not hold it. With "rows",
        `inverse_transform` decodes to the size of a mean row."""
_FITTED = {
    ClusteringVectorAutoencoder: (
        "Also clusters_ (see\n    jaxvae.analysis.find_clusters) and labels_, except on a sphere."
    ),
    GroupedVectorAutoencoder: (
        "Also loadings_\n    [n_groups, n_components], lengths of the loadings of each group, and group_names_."
    ),
    ConditionalVectorAutoencoder: "Also classes_, the\n    labels.",
    ClassEncoder: "Also classes_, the\n    labels.",
    SemiSupervisedVectorAutoencoder: "Also classes_, a\n    list of the labels of each column of y.",
}
_MORE = {
    "components": "\n      components: Number of components of the mixture prior.",
    "groups": (
        "\n      groups: Groups of columns, which share a generator: a mapping from the names of columns to those of"
        '\n        groups, "prefix" for the part of a name before its last "_" or ".", or the path of a CSV file with'
        '\n        the header "column,group". By default, each column is a group.'
    ),
}
T = TypeVar("T", bound=VectorEncoder)


def _estimator(name: str, base: type[T], **more: Any) -> type[T]:
    """Derives the estimator class of a method, with `more` parameters or other defaults.

    Its keyword parameters are the method's hyperparameters and options, in a signature that scikit-learn can read.
    """
    entry = METHODS[name]
    common = _COMMON | {key: value for key, value in entry.defaults.items() if key in _COMMON and key != "likelihood"}
    if not issubclass(base, VectorAutoencoder):
        networks: Any = entry.networks()
        common = {key: value for key, value in common.items() if key not in ("likelihood", "scale", "library")}
        common |= {"n_components": networks.latents, "network": networks.network, "max_iter": entry.defaults["steps"]}
    fields = entry.networks.__dataclass_fields__
    mixture: dict[str, Any] = {"components": 100} if "components" in fields else {}
    mixture |= {"groups": None} if "groups" in fields else {}
    own = {**entry.hyperparameters()._asdict(), **vars(options_of(entry)())}
    own = {key: value for key, value in own.items() if key not in common}
    defaults = {"n_components": common.pop("n_components"), **own, **mixture, **common} | more
    keywords = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=defaults[key]) for key in defaults]
    signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *keywords])

    def __init__(self: T, **params: Any) -> None:
        signature.bind(self, **params)
        VectorEncoder.__init__(self, **(defaults | params))

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    title = entry.hyperparameters.__name__
    doc = _DOC.format(
        summary=inspect.getdoc(entry.build).splitlines()[0],  # type: ignore[union-attr]
        own=", ".join([*own, *(key for key in more if key not in (*_COMMON, *own))]),
        build=entry.build.__name__,
        decoder=_DECODER if issubclass(base, VectorAutoencoder) else 'network: Architecture of the encoder: "mlp".',
        components="".join(_MORE[name] for name in mixture),
        fitted=f" {_FITTED[base]}" if base in _FITTED else "",
    )
    members = {"__init__": __init__, "__doc__": doc, "__module__": __name__, "_name": name}
    return type(title, (base,), members)


VAE = _estimator("vae", VectorAutoencoder)
BetaVAE = _estimator("beta-vae", VectorAutoencoder)
AnnealedVAE = _estimator("annealed-vae", VectorAutoencoder)
ControlVAE = _estimator("control-vae", VectorAutoencoder)
BetaTCVAE = _estimator("beta-tc-vae", VectorAutoencoder)
FactorVAE = _estimator("factor-vae", VectorAutoencoder)
DIPVAEI = _estimator("dip-vae-i", VectorAutoencoder)
DIPVAEII = _estimator("dip-vae-ii", VectorAutoencoder)
DecompositionVAE = _estimator("decomposition-vae", VectorAutoencoder)
WAEMMD = _estimator("wae-mmd", VectorAutoencoder)
WAEGAN = _estimator("wae-gan", VectorAutoencoder)
IWAE = _estimator("iwae", VectorAutoencoder)
QLAE = _estimator("qlae", VectorAutoencoder)
FactorQVAE = _estimator("factor-qvae", VectorAutoencoder)
Tripod = _estimator("tripod", VectorAutoencoder)
HFSVAE = _estimator("hfs-vae", VectorAutoencoder)
OIVAE = _estimator("oi-vae", GroupedVectorAutoencoder)
DRVI = _estimator(
    "drvi",
    CountVectorAutoencoder,
    n_components=32,
    network="elu",
    batch_size=128,
    library="rows",
    splits=None,
    pooling="logsumexp",
)
VAESNE = _estimator("vae-sne", ClusteringVectorAutoencoder)
IVAE = _estimator("ivae", ConditionalVectorAutoencoder)
MCR2 = _estimator("mcr2", ClassEncoder)
SemiSupervisedVAE = _estimator("semi-supervised-vae", SemiSupervisedVectorAutoencoder)
