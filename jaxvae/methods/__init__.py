"""One paper, one file: each builds a `Method` from networks, a likelihood and hyperparameters."""

from jaxvae.methods import dip_vae, wae
from jaxvae.methods.ada_gvae import ADA_GVAE_PRESETS, AdaGVAE, ada_gvae
from jaxvae.methods.alae import ALAE, ALAE_PRESETS, ALAE_SETTINGS, alae
from jaxvae.methods.annealed_vae import ANNEALED_VAE_PRESETS, AnnealedVAE, annealed_vae
from jaxvae.methods.autoencoding import autoencode, autoencoder_method
from jaxvae.methods.beta_tc_vae import BETA_TC_VAE_PRESETS, BetaTCVAE, beta_tc_vae
from jaxvae.methods.beta_vae import BETA_VAE_PRESETS, BetaVAE, beta_vae
from jaxvae.methods.decomposition_vae import DECOMPOSITION_VAE_PRESETS, DecompositionVAE, decomposition_vae
from jaxvae.methods.dip_vae import DIP_VAE_I_PRESETS, DIP_VAE_II_PRESETS, DIPVAEI, DIPVAEII, dip_vae_i, dip_vae_ii
from jaxvae.methods.equivariant_rendering import (
    EQUIVARIANT_RENDERING_PRESETS,
    EQUIVARIANT_RENDERING_SETTINGS,
    EquivariantRendering,
    equivariant_rendering,
)
from jaxvae.methods.factor_vae import FACTOR_VAE_PRESETS, FactorVAE, factor_vae
from jaxvae.methods.group_vae import GROUP_VAE_PRESETS, GroupVAE, group_vae
from jaxvae.methods.icam import ICAM, ICAM_PRESETS, ICAM_SETTINGS, icam
from jaxvae.methods.ivae import IVAE, IVAE_PRESETS, ivae
from jaxvae.methods.iwae import IWAE, IWAE_PRESETS, iwae
from jaxvae.methods.likelihoods import Likelihood, bernoulli, gaussian, laplace
from jaxvae.methods.mcr2 import MCR2, MCR2_PRESETS, MCR2_SETTINGS, mcr2
from jaxvae.methods.oi_vae import OI_VAE_PRESETS, OIVAE, oi_vae
from jaxvae.methods.presets import Entry, Preset
from jaxvae.methods.semi_supervised_vae import SEMI_SUPERVISED_VAE_PRESETS, SemiSupervisedVAE, semi_supervised_vae
from jaxvae.methods.va_gan import VA_GAN_PRESETS, VA_GAN_SETTINGS, VAGAN, va_gan
from jaxvae.methods.vae import VAE, VAE_PRESETS, vae
from jaxvae.methods.vae_sne import VAE_SNE_PRESETS, VAE_SNE_SETTINGS, VAESNE, vae_sne
from jaxvae.methods.wae import WAE_COST, WAE_GAN_PRESETS, WAE_MMD_PRESETS, WAEGAN, WAEMMD, wae_gan, wae_mmd

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
    "mcr2",
    "oi_vae",
    "semi_supervised_vae",
    "va_gan",
    "vae",
    "vae_sne",
    "wae",
    "wae_gan",
    "wae_mmd",
]


METHODS = {
    "vae": Entry(vae, VAE, VAE_PRESETS),
    "beta-vae": Entry(beta_vae, BetaVAE, BETA_VAE_PRESETS),
    "annealed-vae": Entry(annealed_vae, AnnealedVAE, ANNEALED_VAE_PRESETS),
    "beta-tc-vae": Entry(beta_tc_vae, BetaTCVAE, BETA_TC_VAE_PRESETS),
    "factor-vae": Entry(factor_vae, FactorVAE, FACTOR_VAE_PRESETS, logits=2),
    "dip-vae-i": Entry(dip_vae_i, DIPVAEI, DIP_VAE_I_PRESETS),
    "dip-vae-ii": Entry(dip_vae_ii, DIPVAEII, DIP_VAE_II_PRESETS),
    "decomposition-vae": Entry(decomposition_vae, DecompositionVAE, DECOMPOSITION_VAE_PRESETS),
    "wae-mmd": Entry(wae_mmd, WAEMMD, WAE_MMD_PRESETS, WAE_COST),
    "wae-gan": Entry(wae_gan, WAEGAN, WAE_GAN_PRESETS, WAE_COST, logits=1),
    "iwae": Entry(iwae, IWAE, IWAE_PRESETS),
    "ada-gvae": Entry(ada_gvae, AdaGVAE, ADA_GVAE_PRESETS),
    "group-vae": Entry(group_vae, GroupVAE, GROUP_VAE_PRESETS),
    "semi-supervised-vae": Entry(
        semi_supervised_vae, SemiSupervisedVAE, SEMI_SUPERVISED_VAE_PRESETS, special="label networks"
    ),
    "ivae": Entry(ivae, IVAE, IVAE_PRESETS, special="conditional prior"),
    "oi-vae": Entry(oi_vae, OIVAE, OI_VAE_PRESETS, special="grouped decoder"),
    "vae-sne": Entry(vae_sne, VAESNE, VAE_SNE_PRESETS, VAE_SNE_SETTINGS, special="mixture prior"),
    "alae": Entry(alae, ALAE, ALAE_PRESETS, ALAE_SETTINGS, special="latent adversarial networks"),
    "va-gan": Entry(va_gan, VAGAN, VA_GAN_PRESETS, VA_GAN_SETTINGS, special="attribution networks"),
    "icam": Entry(icam, ICAM, ICAM_PRESETS, ICAM_SETTINGS, special="translation networks"),
    "mcr2": Entry(mcr2, MCR2, MCR2_PRESETS, MCR2_SETTINGS, special="feature network"),
    "equivariant-rendering": Entry(
        equivariant_rendering,
        EquivariantRendering,
        EQUIVARIANT_RENDERING_PRESETS,
        EQUIVARIANT_RENDERING_SETTINGS,
        special="layered networks",
    ),
}
"""Name on the command line -> how to build it."""
