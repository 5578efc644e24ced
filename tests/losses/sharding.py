"""One value and gradient, on one device and split over four in every way JAX has."""

from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

BACKENDS = (
    "vmap",
    "shard_map",
    pytest.param("pmap", marks=pytest.mark.slow),
    pytest.param("shard_map unchecked", marks=pytest.mark.slow),
)
"""`vmap` finds a forgotten axis_name; a mesh of devices and its checks find what only collectives do. pmap is built on
shard_map, and both it and the unchecked form differentiate as vmap does."""
DEVICES = 4


def run_sharded(global_mean, backend, *arrays):
    """Value and gradients in `arrays` [B, ...] of `global_mean(*arrays, axis_name=...)`, a pmean over the axis."""
    local = partial(global_mean, axis_name="data")

    def value_and_gradients(*parts):
        return jax.value_and_grad(lambda parts: local(*parts))(parts)

    if backend in ("vmap", "pmap"):
        parts = [array.reshape(DEVICES, -1, *array.shape[1:]) for array in arrays]
        mapped = jax.jit(jax.vmap(value_and_gradients, axis_name="data"))
        if backend == "pmap":
            mapped = jax.pmap(value_and_gradients, axis_name="data")
        values, gradients = jax.tree.map(np.asarray, mapped(*parts))
        np.testing.assert_allclose(values, values[0], rtol=1e-6)
        value, gradients = values[0], [g.reshape(a.shape) for g, a in zip(gradients, arrays, strict=True)]
    else:
        mesh = Mesh(np.array(jax.devices()[:DEVICES]), ("data",), axis_types=(AxisType.Auto,))
        mapped = jax.shard_map(
            value_and_gradients,
            mesh=mesh,
            in_specs=P("data"),
            out_specs=(P(), P("data")),
            check_vma=backend == "shard_map",
        )
        value, gradients = jax.tree.map(np.asarray, jax.jit(mapped)(*arrays))
    if backend != "shard_map":
        # All devices differentiate their copy of the one loss, and the transpose of pmean adds the copies up.
        gradients = [gradient / DEVICES for gradient in gradients]
    return value, gradients
