"""The kernels of `jaxvae.losses`, each call compiled as one program: `from compiled import kl_standard_normal`.

XLA takes as long for one program as for one of its operations, so that this is several times quicker than operations
that are compiled one by one, in values and in gradients. That both are the same is tested with the kernels themselves.
"""

import functools
import inspect

import jax
import numpy as np

import jaxvae.losses
from jaxvae.losses import bounds, constraints, density_ratio, gaussian, likelihoods, mmd, moments, priors

MODULES = (jaxvae.losses, bounds, constraints, density_ratio, gaussian, likelihoods, mmd, moments, priors)


def __getattr__(name):
    for module in MODULES:
        if hasattr(module, name):
            found = getattr(module, name)
            return one_program(found) if inspect.isfunction(found) else found
    raise AttributeError(f"no kernel {name!r}")


@functools.cache
def one_program(kernel):
    """`kernel` under `jax.jit`: its arrays are arguments, all else is constant."""

    @functools.wraps(kernel)
    def call(*args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray))
        if not places:
            return kernel(*args, **kwargs)
        constants = tuple(leaf for i, leaf in enumerate(leaves) if i not in places)
        return program(kernel, tree, places, constants)(*(leaves[i] for i in places))

    return call


@functools.cache
def program(kernel, tree, places, constants):
    """Compiled for these constants, and for any arrays."""

    def apply(*arrays):
        given = dict(zip(places, arrays, strict=True))
        rest = iter(constants)
        args, kwargs = jax.tree.unflatten(
            tree, [given[i] if i in given else next(rest) for i in range(tree.num_leaves)]
        )
        return kernel(*args, **kwargs)

    return jax.jit(apply)
