"""One paper, one file: each builds a `Method` from networks, a likelihood and hyperparameters."""

from jaxvae.methods import dip_vae, wae
from jaxvae.methods.ada_gvae import AdaGVAE, ada_gvae
from jaxvae.methods.alae import ALAE, alae
from jaxvae.methods.annealed_vae import AnnealedVAE, annealed_vae
from jaxvae.methods.autoencoding import autoencode, autoencoder_method
from jaxvae.methods.beta_tc_vae import BetaTCVAE, beta_tc_vae
from jaxvae.methods.beta_vae import BetaVAE, beta_vae
from jaxvae.methods.decomposition_vae import DecompositionVAE, decomposition_vae
from jaxvae.methods.dip_vae import DIPVAEI, DIPVAEII, dip_vae_i, dip_vae_ii
from jaxvae.methods.entry import Entry, Preset
from jaxvae.methods.equivariant_rendering import (
    EquivariantRendering,
    equivariant_rendering,
)
from jaxvae.methods.factor_vae import FactorVAE, factor_vae
from jaxvae.methods.group_vae import GroupVAE, group_vae
from jaxvae.methods.icam import ICAM, icam
from jaxvae.methods.ivae import IVAE, ivae
from jaxvae.methods.iwae import IWAE, iwae
from jaxvae.methods.likelihoods import Likelihood, bernoulli, gaussian, laplace, likelihood_of
from jaxvae.methods.mcr2 import MCR2, mcr2
from jaxvae.methods.oi_vae import OIVAE, oi_vae
from jaxvae.methods.registry import METHODS, method_named
from jaxvae.methods.semi_supervised_vae import SemiSupervisedVAE, semi_supervised_vae
from jaxvae.methods.va_gan import VAGAN, va_gan
from jaxvae.methods.vae import VAE, vae
from jaxvae.methods.vae_sne import VAESNE, vae_sne
from jaxvae.methods.wae import WAEGAN, WAEMMD, wae_gan, wae_mmd

__all__ = [
    "ALAE",
    "DIPVAEI",
    "DIPVAEII",
    "ICAM",
    "IVAE",
    "IWAE",
    "MCR2",
    "METHODS",
    "OIVAE",
    "VAE",
    "VAESNE",
    "VAGAN",
    "WAEGAN",
    "WAEMMD",
    "AdaGVAE",
    "AnnealedVAE",
    "BetaTCVAE",
    "BetaVAE",
    "DecompositionVAE",
    "Entry",
    "EquivariantRendering",
    "FactorVAE",
    "GroupVAE",
    "Likelihood",
    "Preset",
    "SemiSupervisedVAE",
    "ada_gvae",
    "alae",
    "annealed_vae",
    "autoencode",
    "autoencoder_method",
    "bernoulli",
    "beta_tc_vae",
    "beta_vae",
    "decomposition_vae",
    "dip_vae",  # a module of two methods, as wae: listed for its page
    "dip_vae_i",
    "dip_vae_ii",
    "equivariant_rendering",
    "factor_vae",
    "gaussian",
    "group_vae",
    "icam",
    "ivae",
    "iwae",
    "laplace",
    "likelihood_of",
    "mcr2",
    "method_named",
    "oi_vae",
    "semi_supervised_vae",
    "va_gan",
    "vae",
    "vae_sne",
    "wae",
    "wae_gan",
    "wae_mmd",
]
