"""The methods. Each paper has one module, which builds a `Method` from networks, a likelihood and hyperparameters.

A module documents its equation, when to use the method, the source of its defaults, and what was measured here; where
we differ from a paper or its code, the module says so. The table of all methods is in the README, and `jaxvae list`
prints them with their presets.

- Networks and likelihood can be chosen freely for each VAE; the exception is `oi-vae`, which has its own decoder.
  `alae`, `va-gan`, `icam`, `mcr2` and `equivariant-rendering` have networks of their own, in a small size or, with
  `--net-size paper`, as published.
- Some methods need data with known factors, from which they draw their supervision. `ada-gvae` draws pairs that share
  `--shared` factors, and `group-vae` groups that share the factors in `--common`. `constrained-autoencoder` draws
  relations of a factor, `--constraint` and `--constrained-factor`. `semi-supervised-vae` learns from `--labels`
  labelled examples, whose labels `--label-quality` can degrade. The prior of `ivae` depends on the factor `--aux`.
  `va-gan` and `icam` split the data into cases and controls by `--case-factor`. The classes of `mcr2` are the values of
  `--class-factor`, some of them wrong with `--label-noise`.
- `--preset paper` starts from the settings of a method's paper and `--preset study` from those of the large-scale
  study (Locatello et al., 2019). Further flags change them.
- Default learning rates follow the papers; many are tuned for several hundred thousand steps. In 5,000 steps at 1e-4,
  a beta-VAE on `scene` reaches a MIG of 0.07, and of 0.89 with `--learning-rate 1e-3` (one seed each).

## A method of your own

A method names its networks and says which objective trains which of them; the training loop does the rest. This one
gives every latent some free nats:

```python
from typing import NamedTuple

import jax.numpy as jnp
from jaxvae.data import Sprites
from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.method import Objective
from jaxvae.methods import autoencode, autoencoder_method, bernoulli
from jaxvae.networks import autoencoder
from jaxvae.training import train


class FreeNats(NamedTuple):
    learning_rate: float = 1e-3
    nats: float = 0.5


def loss(net, batch, ctx):
    mean, logvar, z, reconstruction = autoencode(net, batch["x"], ctx, bernoulli())
    kl = jnp.maximum(kl_standard_normal_per_latent(mean, logvar), ctx.hyperparameters.nats).sum(axis=-1).mean()
    return reconstruction + kl, {"reconstruction": reconstruction, "kl": kl}


networks = autoencoder("mlp-small", (16, 16, 1), latent_dim=5)
mine = autoencoder_method("free-nats", networks, bernoulli(), FreeNats(), Objective(loss, ("encoder", "decoder")))
state = train(mine, Sprites(resolution=16), steps=20, batch_size=32)
```

The networks can be modules of your own: `jaxvae.networks.from_linen`, `from_nnx` and `from_equinox` convert those of
Flax Linen, Flax NNX and Equinox. A method with an adversary has two objectives, as in `jaxvae.methods.factor_vae`. An
objective can give each network its own learning rate and end with a proximal or constraint step, as in
`jaxvae.methods.oi_vae`. For a method that is not an autoencoder, construct `jaxvae.method.Method` directly.

`jaxvae.runs` shows how to save, score and report such a model from Python. To use a method on the command line,
describe it by an `Entry`, as every module here does at its end, and name where it is:

    jaxvae train my_package.my_vae:ENTRY --data sprites

A package offers its methods by name through the entry-point group `jaxvae.methods`:

    [project.entry-points."jaxvae.methods"]
    my-vae = "my_package.my_vae:ENTRY"
"""

from jaxvae.methods import dip_vae, wae
from jaxvae.methods.ada_gvae import AdaGVAE, ada_gvae
from jaxvae.methods.alae import ALAE, alae
from jaxvae.methods.annealed_vae import AnnealedVAE, annealed_vae
from jaxvae.methods.autoencoding import autoencode, autoencoder_method
from jaxvae.methods.beta_tc_vae import BetaTCVAE, beta_tc_vae
from jaxvae.methods.beta_vae import BetaVAE, beta_vae
from jaxvae.methods.columns import by_columns, likelihood_for
from jaxvae.methods.constrained_autoencoder import ConstrainedAutoencoder, constrained_autoencoder
from jaxvae.methods.control_vae import ControlVAE, control_vae
from jaxvae.methods.decomposition_vae import DecompositionVAE, decomposition_vae
from jaxvae.methods.dip_vae import DIPVAEI, DIPVAEII, dip_vae_i, dip_vae_ii
from jaxvae.methods.drvi import DRVI, drvi
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.equivariant_rendering import (
    EquivariantRendering,
    equivariant_rendering,
)
from jaxvae.methods.factor_qvae import FactorQVAE, factor_qvae
from jaxvae.methods.factor_vae import FactorVAE, factor_vae
from jaxvae.methods.group_vae import GroupVAE, group_vae
from jaxvae.methods.hfs_vae import HFSVAE, hfs_vae
from jaxvae.methods.icam import ICAM, icam
from jaxvae.methods.ivae import IVAE, ivae
from jaxvae.methods.iwae import IWAE, iwae
from jaxvae.methods.library import given_library, log_library, reading_library, with_library
from jaxvae.methods.likelihoods import Likelihood, bernoulli, gaussian, laplace, likelihood_of
from jaxvae.methods.mcr2 import MCR2, mcr2
from jaxvae.methods.oi_vae import OIVAE, oi_vae
from jaxvae.methods.qlae import QLAE, qlae
from jaxvae.methods.registry import METHODS, method_named
from jaxvae.methods.semi_supervised_vae import SemiSupervisedVAE, semi_supervised_vae
from jaxvae.methods.tripod import Tripod, tripod
from jaxvae.methods.va_gan import VAGAN, va_gan
from jaxvae.methods.vae import VAE, vae
from jaxvae.methods.vae_sne import VAESNE, vae_sne
from jaxvae.methods.wae import WAEGAN, WAEMMD, wae_gan, wae_mmd

__all__ = [
    "ALAE",
    "DIPVAEI",
    "DIPVAEII",
    "DRVI",
    "HFSVAE",
    "ICAM",
    "IVAE",
    "IWAE",
    "MCR2",
    "METHODS",
    "OIVAE",
    "QLAE",
    "VAE",
    "VAESNE",
    "VAGAN",
    "WAEGAN",
    "WAEMMD",
    "AdaGVAE",
    "AnnealedVAE",
    "BetaTCVAE",
    "BetaVAE",
    "ConstrainedAutoencoder",
    "ControlVAE",
    "DecompositionVAE",
    "Entry",
    "EquivariantRendering",
    "FactorQVAE",
    "FactorVAE",
    "GroupVAE",
    "Likelihood",
    "Preset",
    "SemiSupervisedVAE",
    "Tripod",
    "ada_gvae",
    "alae",
    "annealed_vae",
    "autoencode",
    "autoencoder_method",
    "bernoulli",
    "beta_tc_vae",
    "beta_vae",
    "by_columns",
    "constrained_autoencoder",
    "control_vae",
    "decomposition_vae",
    "dip_vae",  # a module of two methods, as wae: listed for its page
    "dip_vae_i",
    "dip_vae_ii",
    "drvi",
    "equivariant_rendering",
    "factor_qvae",
    "factor_vae",
    "gaussian",
    "given_library",
    "group_vae",
    "hfs_vae",
    "icam",
    "ivae",
    "iwae",
    "laplace",
    "likelihood_for",
    "likelihood_of",
    "log_library",
    "mcr2",
    "method_named",
    "oi_vae",
    "qlae",
    "reading_library",
    "semi_supervised_vae",
    "tripod",
    "va_gan",
    "vae",
    "vae_sne",
    "wae",
    "wae_gan",
    "wae_mmd",
    "with_library",
]
