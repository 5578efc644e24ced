"""Questions put to a trained model."""

from jaxvae.analysis.representation import Representation, encode_samples, reconstruct, traverse

__all__ = ["Representation", "encode_samples", "reconstruct", "traverse"]
