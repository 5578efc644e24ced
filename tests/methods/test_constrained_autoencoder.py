"""Each constraint against its kernel, on batches that have it; the same in parts; and that it ties its latent."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, make

from jaxvae import losses
from jaxvae.data import Constraints, from_arrays
from jaxvae.method import Context, Nets
from jaxvae.training import make_train_step

GRID = np.stack(np.unravel_index(np.arange(60), (5, 3, 4)), axis=1)
SOURCE = from_arrays(np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), np.uint8), GRID)
KEY = jax.random.key(1)
FORMS = {
    "groups": {},
    "distances": {},
    "distances stress": {"distances": "stress"},
    "ranks": {},
    "analogies swap": {},
    "analogies additive": {"analogy": "additive"},
    "analogies multiplicative": {"analogy": "multiplicative"},
}


@cache
def built(form):
    constraint = form.split()[0]
    batch = Constraints(SOURCE, "factor0", constraint).sample(KEY, 16)
    return make("constrained-autoencoder", constraint=constraint, **FORMS[form]), batch


def expected(form, net, batch):
    """Of the batch, by the kernel."""
    codes = [net.encoder(batch[name]).mean for name in ("x", "x2", "x3", "x4") if name in batch]
    first = [code[:, 0] for code in codes]
    match form.split():
        case ["groups"]:
            spread = (
                losses.match_pairing(*codes, jnp.broadcast_to((jnp.arange(LATENTS) == 0)[None], codes[0].shape)) / 4
            )
            return spread.mean() + (first[0].var() - 1) ** 2
        case ["ranks"]:
            return (
                jax.nn.softplus(-batch["order"][:, 0] * (first[0] - first[1])).mean()
                - jnp.log(2.0) * (batch["order"] == 0).mean()
            )
        case ["distances"]:
            excess = (first[0] - first[1]) ** 2 - (first[0] - first[2]) ** 2
            return (jax.nn.softplus(excess) * batch["known"]).mean()
        case ["distances", "stress"]:
            target = jnp.abs(batch["values"] - batch["values"].T)
            return losses.mds_stress(codes[0][:, :1], target, weighting="stress-1", scale_free=True)
    a, b, c, d = codes
    kind = form.split()[1]
    if kind == "swap":
        code = jnp.concatenate([b[:, :1], c[:, 1:]], axis=1)
    else:
        step = b - a
        code = c + (step if kind == "additive" else jnp.einsum("ijk,ni,nj->nk", net.analogy(), step, c))
    cost = losses.bernoulli_nll(net.decoder(code), batch["x4"]).mean() / 256
    return cost + ((d - code) ** 2).sum(axis=1).mean()


@pytest.mark.parametrize("form", FORMS)
def test_a_constraint_is_its_kernel(form):
    method, batch = built(form)
    assert set(method.needs) <= set(batch)
    assert ("analogy" in method.networks) == (form == "analogies multiplicative")

    @jax.jit
    def evaluate(batch):
        params = {name: network.init(jax.random.key(3)) for name, network in method.networks.items()}
        net = Nets(method.networks, params)
        ctx = Context(KEY, jax.tree.map(jnp.float32, method.hyperparameters), jnp.int32(0), 60)
        return method.objectives[0].loss(net, batch, ctx), expected(form, net, batch)

    (total, terms), want = evaluate(batch)
    np.testing.assert_allclose(terms["constraint"], want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(total, terms["reconstruction"] + terms["kl"] + 10 * want, rtol=1e-5)


@pytest.mark.parametrize("form", ["groups", "distances stress"])
def test_constraints_of_a_batch_in_parts(form):
    """Those that couple the examples of a batch; the table of all methods tries no data but that of groups."""
    method, batch = built(form)
    init, update = make_train_step(method, dataset_size=60)
    state = jax.jit(init)(jax.random.key(0))
    parts = jax.tree.map(lambda leaf: np.reshape(leaf, (2, -1, *leaf.shape[1:])), batch)
    together = jax.vmap(partial(update, axis_name="data"), (None, 0), axis_name="data")
    (one, terms), (many, many_terms) = jax.jit(lambda s: (update(s, batch), together(s, parts)))(
        state._replace(key=state.key)
    )
    for name in terms:
        np.testing.assert_allclose(many_terms[name], np.full(2, terms[name]), rtol=1e-4)
    for a, b in zip(jax.tree.leaves(one.opt_state), jax.tree.leaves(many.opt_state), strict=True):
        np.testing.assert_allclose(b[0], a, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("weight", ["beta", "constraint_weight"])
def test_weights_of_constraints_are_not_negative(weight):
    with pytest.raises(ValueError, match=f"{weight} is a weight and must be >= 0, got -1"):
        make("constrained-autoencoder", hp={weight: -1.0})
