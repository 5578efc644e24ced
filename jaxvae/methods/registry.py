"""The methods by name: those of this package, and those that other packages add.

A package adds a method by an entry point of the group `jaxvae.methods` that names an `Entry`:

    [project.entry-points."jaxvae.methods"]
    my-vae = "my_package.my_vae:ENTRY"

A method that is not installed is named by where its entry is: `my_package.my_vae:ENTRY`, or `my_vae:ENTRY` for the file
my_vae.py in the current folder.
"""

from jaxvae.choose import choose_or_import
from jaxvae.methods.ada_gvae import ENTRY as ADA_GVAE
from jaxvae.methods.alae import ENTRY as ALAE
from jaxvae.methods.annealed_vae import ENTRY as ANNEALED_VAE
from jaxvae.methods.beta_tc_vae import ENTRY as BETA_TC_VAE
from jaxvae.methods.beta_vae import ENTRY as BETA_VAE
from jaxvae.methods.constrained_autoencoder import ENTRY as CONSTRAINED_AUTOENCODER
from jaxvae.methods.control_vae import ENTRY as CONTROL_VAE
from jaxvae.methods.decomposition_vae import ENTRY as DECOMPOSITION_VAE
from jaxvae.methods.dip_vae import ENTRY_I as DIP_VAE_I
from jaxvae.methods.dip_vae import ENTRY_II as DIP_VAE_II
from jaxvae.methods.drvi import ENTRY as DRVI
from jaxvae.methods.entry import Entry
from jaxvae.methods.equivariant_rendering import ENTRY as EQUIVARIANT_RENDERING
from jaxvae.methods.factor_qvae import ENTRY as FACTOR_QVAE
from jaxvae.methods.factor_vae import ENTRY as FACTOR_VAE
from jaxvae.methods.group_vae import ENTRY as GROUP_VAE
from jaxvae.methods.hfs_vae import ENTRY as HFS_VAE
from jaxvae.methods.icam import ENTRY as ICAM
from jaxvae.methods.ivae import ENTRY as IVAE
from jaxvae.methods.iwae import ENTRY as IWAE
from jaxvae.methods.mcr2 import ENTRY as MCR2
from jaxvae.methods.oi_vae import ENTRY as OI_VAE
from jaxvae.methods.qlae import ENTRY as QLAE
from jaxvae.methods.semi_supervised_vae import ENTRY as SEMI_SUPERVISED_VAE
from jaxvae.methods.tripod import ENTRY as TRIPOD
from jaxvae.methods.va_gan import ENTRY as VA_GAN
from jaxvae.methods.vae import ENTRY as VAE
from jaxvae.methods.vae_sne import ENTRY as VAE_SNE
from jaxvae.methods.wae import ENTRY_GAN as WAE_GAN
from jaxvae.methods.wae import ENTRY_MMD as WAE_MMD

OWN = (
    VAE,
    BETA_VAE,
    ANNEALED_VAE,
    CONTROL_VAE,
    BETA_TC_VAE,
    FACTOR_VAE,
    DIP_VAE_I,
    DIP_VAE_II,
    DECOMPOSITION_VAE,
    WAE_MMD,
    WAE_GAN,
    IWAE,
    QLAE,
    FACTOR_QVAE,
    TRIPOD,
    HFS_VAE,
    ADA_GVAE,
    GROUP_VAE,
    CONSTRAINED_AUTOENCODER,
    SEMI_SUPERVISED_VAE,
    IVAE,
    OI_VAE,
    DRVI,
    VAE_SNE,
    ALAE,
    VA_GAN,
    ICAM,
    MCR2,
    EQUIVARIANT_RENDERING,
)
METHODS: dict[str, Entry] = {entry.name: entry for entry in OWN}
"""Name on the command line -> entry."""


def method_named(name: str) -> Entry:
    """The entry of a method.

    Args:
      name: a key of `METHODS`, an entry point of another package, or "package.module:NAME" for an entry of one's own.

    Raises:
      ValueError: no such method; an import that fails.
    """
    entry = choose_or_import("method", name, METHODS)
    if not isinstance(entry, Entry):
        raise ValueError(f"{name} is not a jaxvae.methods.Entry but {type(entry).__name__}")
    return entry
