"""Disentangled representation learning in JAX.

Importing this package imports nothing heavy: `jaxvae.losses` needs JAX alone, everything else is one import away.

- `jaxvae.losses`: kernels, pure functions of arrays
- `jaxvae.method`: what a method is; `jaxvae.methods`: one paper, one module, with its equation and what was measured
- `jaxvae.networks`: encoders and decoders
- `jaxvae.data`: sources of batches
- `jaxvae.training`: from a method to a trained model
- `jaxvae.run`: a trained model, loaded from its folder, and its scores; `jaxvae.report`: its page
- `jaxvae.metrics`: scores of codes against factors; `jaxvae.analysis`: questions put to a trained model
- `jaxvae.sklearn`: the methods as scikit-learn estimators; `jaxvae.baselines`: codes without deep networks
- `jaxvae.study`: the large-scale study

The README of the repository has examples of each, and experiments/tutorial.md goes from the installation to a loss of
your own.
"""

__version__ = "0.1.0"
