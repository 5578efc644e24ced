"""Memory of a controller that changes a weight during training."""

import jax.numpy as jnp

from jaxvae.method import Network


def integral_memory() -> Network:
    """Builds the "controller" of the ControlVAE, without inputs -> the integral part of its weight, a scalar, 0 at the
    start. It is trained by plain gradient descent, so that its state is saved, swept and resumed as all parameters are.
    """
    return Network(lambda key: {"integral": jnp.zeros(())}, lambda params: params["integral"])
