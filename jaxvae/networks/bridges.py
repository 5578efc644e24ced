"""Modules of Flax NNX and of Equinox as a `Network`.

Parameters are nested dicts of arrays under the names of the module's attributes, whatever the library. Optax and
checkpoints therefore need neither the library nor the module's class.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxvae.method import Network, Params, Posterior


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Makes a `Network` of a Flax NNX module, whose `nnx.Param`s are the parameters.

    ```python
    import jax.numpy as jnp
    from flax import nnx
    from jaxvae.data import Sprites
    from jaxvae.methods import beta_vae
    from jaxvae.networks import autoencoder, from_nnx
    from jaxvae.training import train


    class Encoder(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(256, 64, rngs=rngs)
            self.code = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, image):  # [B, 16, 16, 1]
            hidden = nnx.relu(self.hidden(image.reshape(len(image), -1)))
            return jnp.split(self.code(hidden), 2, axis=-1)  # mean and logvar [B, 5]


    networks = autoencoder("mlp-small", (16, 16, 1), latent_dim=5) | {"encoder": from_nnx(Encoder)}
    state = train(beta_vae(networks), Sprites(resolution=16), steps=4, batch_size=8)
    ```

    Args:
      build: Function that builds the module from its random streams: the module's class if it takes `rngs` alone, or a
        function such as `lambda rngs: Encoder(64, rngs=rngs)`. The module is called with batches, [B, ...] each. An
        encoder returns a `Posterior`, or its mean and logvar as a pair.

    Returns:
      The network. Its `init` is a pure function of the key. Arrays of the module that are not variables, such as a grid
      of coordinates, are constants.

    Raises:
      TypeError: `build` is a module, or does not build a module.
      ValueError: The module has variables that are not trained, as BatchNorm and Dropout have, or a constant that is
        drawn at random.
    """
    if isinstance(build, nnx.Module):
        _refuse_a_module("from_nnx", build, "rngs")

    def parts(key: jax.Array) -> tuple[nnx.GraphDef, Any, Any]:
        module = build(nnx.Rngs(key))
        name = type(module).__name__
        if not isinstance(module, nnx.Module):
            raise TypeError(f"from_nnx needs a function that returns an nnx.Module, this one returns {name}")
        fixed = [
            "/".join(map(str, path))
            for path, value in nnx.iter_graph(module)
            if isinstance(value, nnx.Variable | jax.core.Tracer) and not isinstance(value, nnx.Param)
        ]
        if fixed:
            raise ValueError(
                f"from_nnx keeps nothing but nnx.Param, and {name} has {_some(fixed)}: replace BatchNorm by LayerNorm "
                "or GroupNorm, keep no nnx.Rngs (as Dropout does), and make a random array an nnx.Param"
            )
        split: Any = nnx.split(module, nnx.Param, ...)
        graph, params, constants = split
        return graph, nnx.as_pure(params), constants

    return _network(parts, nnx.merge)


def from_equinox(build: Callable[[jax.Array], Any], *, batched: bool = False) -> Network:
    """Makes a `Network` of an Equinox module, whose floating-point arrays are the parameters.

    It needs `pip install equinox`.

    ```python
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jaxvae.data import Sprites
    from jaxvae.methods import beta_vae
    from jaxvae.networks import autoencoder, from_equinox
    from jaxvae.training import train


    class Encoder(eqx.Module):
        layers: eqx.nn.MLP

        def __init__(self, key):
            self.layers = eqx.nn.MLP(in_size=256, out_size=10, width_size=64, depth=1, key=key)

        def __call__(self, image):  # [16, 16, 1], one example as ever in Equinox
            return jnp.split(self.layers(image.reshape(-1)), 2)  # mean and logvar [5]


    networks = autoencoder("mlp-small", (16, 16, 1), latent_dim=5) | {"encoder": from_equinox(Encoder)}
    state = train(beta_vae(networks), Sprites(resolution=16), steps=4, batch_size=8)
    ```

    Args:
      build: Function that builds the module from a key: the module's class if it takes the key alone, or a function
        such as `lambda key: Encoder(64, key=key)`. An encoder returns a `Posterior`, or its mean and logvar as a pair.
        Images are [H, W, C], whereas Equinox's convolutions take [C, H, W].
      batched: Whether the module is called with a batch, [B, ...]. By default, it is called with single examples under
        `jax.vmap`, as Equinox's layers are.

    Returns:
      The network. Its `init` is a pure function of the key. Arrays of integers and booleans are constants.

    Raises:
      ImportError: Equinox is not installed.
      TypeError: `build` is a module, or builds an object that is not callable.
      ValueError: The module has state, as BatchNorm has, a Dropout that is not switched off, or a constant that is
        drawn at random.
    """
    try:
        import equinox as eqx
    except ImportError:
        raise ImportError("from_equinox needs Equinox: pip install equinox") from None
    if isinstance(build, eqx.Module):
        _refuse_a_module("from_equinox", build, "key")

    def changes(part: Any) -> bool:
        dropout = isinstance(part, eqx.nn.Dropout) and part.p > 0 and not part.inference
        return dropout or isinstance(part, eqx.nn.StateIndex)

    def parts(key: jax.Array) -> tuple[None, Any, Any]:
        module = build(key)
        name = type(module).__name__
        params, constants = eqx.partition(module, eqx.is_inexact_array)
        fixed = [
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, part in jax.tree_util.tree_leaves_with_path(constants, is_leaf=changes)
            if changes(part) or isinstance(part, jax.core.Tracer)
        ]
        if fixed:
            raise ValueError(
                f"from_equinox keeps nothing but floating-point arrays, and {name} has {_some(fixed)}: replace "
                "BatchNorm by LayerNorm or GroupNorm, give Dropout inference=True, and keep no keys or random integers"
            )
        if not callable(module):
            raise TypeError(f"from_equinox needs a function that returns a module to call, this one returns {name}")
        return None, params, constants

    def merge(_: None, params: Any, constants: Any) -> Callable[..., Any]:
        module = eqx.combine(params, constants)
        return module if batched else jax.vmap(module)

    return _network(parts, merge)


def _network(parts: Callable[[jax.Array], tuple[Any, Any, Any]], merge: Callable[[Any, Any, Any], Any]) -> Network:
    """Builds the network of a module that `parts` splits into (structure, params, constants) and `merge` joins
    again.
    """

    def split(key: jax.Array) -> tuple[Any, Any, Any]:
        # Arrays that do not depend on the key are computed even while JAX traces, which makes them constants.
        with jax.ensure_compile_time_eval():
            return parts(key)

    kept = []

    def trace(key: jax.Array) -> Any:
        structure, params, constants = split(key)
        kept.append((structure, constants))
        return params

    shapes = jax.eval_shape(trace, jax.random.key(0))
    structure, constants = kept[0]
    names = [
        tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(shapes)
    ]

    def init(key: jax.Array) -> Params:
        return unflatten_dict(dict(zip(names, jax.tree.leaves(split(key)[1]), strict=True)))

    def apply(params: Params, *inputs: jax.Array) -> Any:
        flat = flatten_dict(params)
        arrays = jax.tree.unflatten(jax.tree.structure(shapes), [flat[name] for name in names])
        outputs = merge(structure, arrays, constants)(*inputs)
        return Posterior(*outputs) if type(outputs) in (tuple, list) and len(outputs) == 2 else outputs

    return Network(init, apply)


def _refuse_a_module(function: str, module: Any, argument: str) -> NoReturn:
    name = type(module).__name__
    raise TypeError(
        f"{function} needs a function that builds the module, as every seed has parameters of its own: give it "
        f"`lambda {argument}: {name}({argument}={argument})`, not a {name}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
