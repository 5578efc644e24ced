"""The kernels of `jaxvae.losses`, each call compiled as one program: `from compiled import kl_standard_normal`.

XLA takes as long for one program as for one of its operations, so that this is several times quicker than operations
that are compiled one by one, in values and in gradients. That both are the same is tested with the kernels themselves.
"""

import functools
import inspect

import jax
import numpy as np

import jaxvae.losses


def __getattr__(name):
    if not hasattr(jaxvae.losses, name):
        raise AttributeError(f"no kernel {name!r}")
    found = getattr(jaxvae.losses, name)
    return one_program(found) if inspect.isfunction(found) else found


def one_program(function):
    """`function` under `jax.jit`: its arrays are arguments, all else is constant. Gives NumPy's arrays, or tracers."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray | np.generic))
        if not places:
            return function(*args, **kwargs)
        constants = tuple((type(leaf), leaf) for i, leaf in enumerate(leaves) if i not in places)
        out = program(function, tree, places, constants)(*(leaves[i] for i in places))
        return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.core.Tracer) else np.asarray(leaf), out)

    return call


@functools.cache
def program(function, tree, places, constants):
    """Compiled for these constants, and for any arrays."""

    def apply(*arrays):
        given = dict(zip(places, arrays, strict=True))
        rest = (value for _, value in constants)
        args, kwargs = jax.tree.unflatten(
            tree, [given[i] if i in given else next(rest) for i in range(tree.num_leaves)]
        )
        return function(*args, **kwargs)

    return jax.jit(apply)


def grad(function, argnums=0):
    return one_program(jax.grad(function, argnums))


def value_and_grad(function, argnums=0):
    return one_program(jax.value_and_grad(function, argnums))


def vmap(function, in_axes=0):
    return one_program(jax.vmap(function, in_axes))


@one_program
def normal(key, shape):
    """Draws of `jax.random.normal`, in NumPy."""
    return jax.random.normal(key, shape)


def float32(*arrays):
    """What eager kernels are given, which take JAX's arrays only: NumPy's, moved without a program."""
    moved = tuple(jax.device_put(np.asarray(array, np.float32)) for array in arrays)
    return moved if len(moved) > 1 else moved[0]
