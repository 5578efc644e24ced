"""Representations without deep networks, to compare with: estimators with `fit`, `transform` and `inverse_transform`.

All have `inverse_transform` except `RecursiveICA`. Their codes can be passed to every metric:

```python
import jax
import numpy as np
from jaxvae.baselines import CooperativeVQ
from jaxvae.data import Sprites
from jaxvae.metrics import mig

batch = Sprites(16).sample(jax.random.key(0), 500)
images, factors = np.asarray(batch["x"]).reshape(500, -1), np.asarray(batch["factors"])
model = CooperativeVQ(n_factors=3, n_codewords=4, n_init=2, max_iter=20, random_state=0).fit(images)
codes = model.transform(images)  # [500, 3], integers
score, reconstruction = mig(codes, factors, num_bins=40).score, model.inverse_transform(codes)
```

On the command line, `jaxvae fit pca --data sprites --image-size 16 --latents 6` fits a baseline as a run, which
`evaluate`, `report` and `compare` accept like any other; `--options max_iter=500 fun=cube` sets parameters of the
estimator. The folder of such a run holds no weights: loading it fits the estimator again.

| estimator | `jaxvae fit` | code |
|---|---|---|
| `PCA` | pca | coordinates along orthogonal directions of largest variance |
| `NMF` | nmf | weights of non-negative parts that add up |
| `FastICA` | fast-ica | non-Gaussian sources |
| `Infomax` | infomax | maximum-likelihood sources; with `extended`, also sources with light tails |
| `RecursiveICA` | recursive-ica | sources of the absolute values of the sources of another ICA, layer by layer |
| `IndependentSubspaces` | independent-subspaces | filters in groups that are active together |
| `TopographicICA` | topographic-ica | filters on a grid, where neighbours are active together |
| `VectorQuantizer` | vector-quantizer | the nearest prototype |
| `CooperativeVQ` | cooperative-vq | one codeword from each of several codebooks, which add up |
| `MultipleCauseVQ` | multiple-cause-vq | a state for each factor; every feature belongs to one factor |
| `Multilinear` (and `hosvd`) | multilinear | a vector per factor, multiplied; needs all combinations of factors |
| `CanonicalPolyadic` | canonical-polyadic | the same as a unique sum of products; needs the extra `tensor` |
| `SelfOrganizingMap` | self-organizing-map | a position on a grid of prototypes, where neighbours are similar |

`PCA`, `FastICA` and `NMF` are those of scikit-learn. `CanonicalPolyadic` wraps TensorLy's decomposition, and
`VectorQuantizer` wraps scikit-learn's k-means.
"""

from sklearn.decomposition import NMF, PCA, FastICA

from jaxvae.baselines.linear import Infomax
from jaxvae.baselines.multilinear import CanonicalPolyadic, Multilinear, hosvd
from jaxvae.baselines.quantizers import CooperativeVQ, MultipleCauseVQ, VectorQuantizer
from jaxvae.baselines.recursive_ica import RecursiveICA
from jaxvae.baselines.som import SelfOrganizingMap
from jaxvae.baselines.subspaces import IndependentSubspaces, TopographicICA

__all__ = [
    "NMF",
    "PCA",
    "CanonicalPolyadic",
    "CooperativeVQ",
    "FastICA",
    "IndependentSubspaces",
    "Infomax",
    "Multilinear",
    "MultipleCauseVQ",
    "RecursiveICA",
    "SelfOrganizingMap",
    "TopographicICA",
    "VectorQuantizer",
    "hosvd",
]
