"""Networks, as pairs of pure functions `init` and `apply`.

`autoencoder` builds encoder and decoder of one of the `ARCHITECTURES`. `discriminator` builds a network that
discriminates codes, and `feature_network` one whose features lie on the unit sphere. The others belong to single
methods.

`DenseLayers` changes the dense architectures, "mlp", "mlp-small", "selu", "elu" and "gelu": `--hidden 128 64` gives
the widths of the hidden layers, `--layer-norm` adds layer norms, and `--dropout 0.1` dropout. "conv1d" is for series of
any length. `SplitDecoder` makes any of the decoders additive over the latents.

`from_linen`, `from_nnx` and `from_equinox` make a network of your own module, of Flax Linen, Flax NNX or Equinox. On
the command line, `--network my_package.my_networks:NAME` names a function that is called like those in
`ARCHITECTURES`; a package offers it by name through the entry-point group `jaxvae.networks`.
"""

from jaxvae.networks.additive import SplitDecoder, with_least_variance
from jaxvae.networks.analogy import analogy_weights
from jaxvae.networks.attribution import attribution_networks
from jaxvae.networks.autoencoders import ARCHITECTURES, DenseLayers, autoencoder
from jaxvae.networks.bridges import from_equinox, from_nnx
from jaxvae.networks.column_groups import column_groups, content_of_groups, groups_as_text
from jaxvae.networks.controller import integral_memory
from jaxvae.networks.discriminator import discriminator
from jaxvae.networks.equalized import latent_adversarial_networks
from jaxvae.networks.features import feature_network
from jaxvae.networks.grouped import grouped_decoder
from jaxvae.networks.labels import label_networks
from jaxvae.networks.layered import layered_networks
from jaxvae.networks.linen import from_linen
from jaxvae.networks.mixture_prior import mixture_prior
from jaxvae.networks.tabular import decoder_params, inputs, neighbour_features, with_parameters
from jaxvae.networks.translation import translation_networks
from jaxvae.networks.value_lists import shared_values, value_lists
from jaxvae.networks.xtanh import conditional_prior

__all__ = [
    "ARCHITECTURES",
    "DenseLayers",
    "SplitDecoder",
    "analogy_weights",
    "attribution_networks",
    "autoencoder",
    "column_groups",
    "conditional_prior",
    "content_of_groups",
    "decoder_params",
    "discriminator",
    "feature_network",
    "from_equinox",
    "from_linen",
    "from_nnx",
    "grouped_decoder",
    "groups_as_text",
    "inputs",
    "integral_memory",
    "label_networks",
    "latent_adversarial_networks",
    "layered_networks",
    "mixture_prior",
    "neighbour_features",
    "shared_values",
    "translation_networks",
    "value_lists",
    "with_least_variance",
    "with_parameters",
]
