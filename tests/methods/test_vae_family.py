"""What is particular to one method: its terms against their kernels, its schedule, its adversary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, SOURCE, loss_of, make, own

from jaxvae import losses
from jaxvae.method import Context, Nets, Network, Posterior
from jaxvae.methods import METHODS, FactorVAE, factor_vae, gaussian
from jaxvae.methods.autoencoding import POINT_LOGVAR
from jaxvae.methods.decomposition_vae import PER_LATENT, PRIORS
from jaxvae.networks import discriminator
from jaxvae.streams import Stream
from jaxvae.training import make_train_step

KEY = jax.random.key(1)


def posterior(params, image):
    return make("vae").networks["encoder"].apply(params["encoder"], image)


@pytest.mark.parametrize("weighting", ["uniform", "mss", "mws"])
def test_beta_tc_vae_estimates_for_its_data_set_and_weighting(weighting, params, batch):
    @jax.jit
    def evaluate(params, batch):
        _, terms = loss_of(make("beta-tc-vae", weighting=weighting), params, batch, KEY)
        mean, logvar = posterior(params, batch["x"])
        z = losses.reparameterize(KEY, mean, logvar)
        log_qz = losses.minibatch_log_qz(z, mean, logvar, dataset_size=SOURCE.size, weighting=weighting)
        return terms, losses.kl_decomposition(z, mean, logvar, log_qz).mutual_information.mean()

    terms, want = evaluate(params, batch)
    np.testing.assert_allclose(terms["mutual_information"], want, rtol=1e-4)


@jax.jit
def annealed_terms(hp, step, params, batch):
    """Of the annealed VAE, in one program for all its hyperparameters."""
    return loss_of(make("annealed-vae")._replace(hyperparameters=hp), params, batch, KEY, step)[1]


@pytest.mark.parametrize(
    ("warmup", "step", "capacity"), [(10, 0, 2), (10, 5, 6), (10, 10, 10), (10, 99, 10), (0, 0, 10)]
)
def test_capacity_grows_linearly_and_stays(warmup, step, capacity, params, batch):
    method = make("annealed-vae", hp={"c_start": 2.0, "c_end": 10.0, "warmup": float(warmup)})
    terms = annealed_terms(method.hyperparameters, step, params, batch)
    np.testing.assert_allclose(terms["capacity"], capacity, rtol=1e-6)
    np.testing.assert_allclose(terms["distance_to_capacity"], abs(terms["kl"] - capacity), rtol=1e-5)


def test_capacity_pulls_the_kl_from_both_sides(params, batch):
    """gamma times the sign of KL - C: the gradient of the penalty is that of the beta-VAE's KL, or minus it."""

    def annealed(capacity, form="batch"):
        return make("annealed-vae", form=form, hp={"gamma": 5.0, "c_end": capacity, "warmup": 0.0})

    methods = {
        "beta 0": make("beta-vae", hp={"beta": 0.0}),
        "beta 5": make("beta-vae", hp={"beta": 5.0}),
        "below": annealed(0.0),
        "above": annealed(1e4),
        "above, per image": annealed(1e4, "per-image"),
    }

    @jax.jit
    def gradients(params):
        of = {name: jax.grad(lambda p, m=method: loss_of(m, p, batch, KEY)[0]) for name, method in methods.items()}
        return {name: gradient(params)["encoder"]["mean"]["kernel"] for name, gradient in of.items()}

    of = {name: np.asarray(gradient) for name, gradient in gradients(params).items()}
    np.testing.assert_allclose(of["below"], of["beta 5"], rtol=1e-3, atol=1e-3)
    minus = 2 * of["beta 0"] - of["beta 5"]
    np.testing.assert_allclose(of["above"], minus, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(of["above, per image"], minus, rtol=1e-3, atol=1e-3)


def test_capacity_is_held_by_the_mean_over_all_devices(params, batch):
    """Not by the mean of each: at the target, their distances are not 0."""
    method = make("annealed-vae", hp={"warmup": 0.0})

    @jax.jit
    def on_devices(params, images):
        kl = losses.kl_standard_normal(*posterior(params, images))
        ctx = Context(KEY, method.hyperparameters._replace(c_end=kl.mean()), jnp.int32(0), SOURCE.size, "data")
        loss = lambda image: method.objectives[0].loss(Nets(method.networks, params), {"x": image}, ctx)  # noqa: E731
        _, terms = jax.vmap(loss, axis_name="data")(images.reshape(8, 4, *SOURCE.event_shape))
        return kl, terms["distance_to_capacity"]

    kl, distance = map(np.asarray, on_devices(params, batch["x"]))
    assert np.abs(kl.reshape(8, 4).mean(axis=1) - kl.mean()).min() > 1e-2
    np.testing.assert_allclose(distance, 0, atol=1e-3)


def test_per_image_distance_is_never_the_smaller(params, batch):
    forms = [make("annealed-vae", form=form, hp={"warmup": 0.0}) for form in ("batch", "per-image")]

    @jax.jit
    def evaluate(params, batch):
        kl = losses.kl_standard_normal(*posterior(params, batch["x"]))
        hp = forms[0].hyperparameters._replace(c_end=jnp.median(kl))
        terms = [loss_of(form._replace(hyperparameters=hp), params, batch, KEY)[1] for form in forms]
        return jnp.abs(kl - hp.c_end).mean(), *terms

    want, batchwise, per_image = evaluate(params, batch)
    np.testing.assert_allclose(per_image["distance_to_capacity"], want, rtol=1e-5)
    assert float(per_image["distance_to_capacity"]) > float(batchwise["distance_to_capacity"]) + 0.1


@pytest.mark.parametrize("name", ["factor-vae", "wae-gan"])
def test_no_gradient_of_the_discriminators_loss_reaches_the_encoder(name, batch, params):
    method = make(name)

    @jax.jit
    def gradient_of(params):
        return jax.grad(lambda params: loss_of(method, params, batch, KEY, objective=1)[0])(own(method, params))

    gradient = gradient_of(params)
    for network, part in gradient.items():
        assert any(np.any(leaf) for leaf in jax.tree.leaves(part)) == (network == "discriminator")


def of_a_silent_discriminator(method, params, batch):
    """Value and terms of both objectives, where the discriminator's logits are all 0."""

    @jax.jit
    def evaluate(params):
        params = own(method, params)
        params |= {"discriminator": jax.tree.map(jnp.zeros_like, params["discriminator"])}
        return [loss_of(method, params, batch, KEY, objective=objective) for objective in (0, 1)]

    return evaluate(params)


def test_factor_vae_of_a_discriminator_that_knows_nothing(params, batch):
    (_, terms), (value, own_terms) = of_a_silent_discriminator(make("factor-vae"), params, batch)
    assert float(terms["total_correlation"]) == 0
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert float(own_terms["discriminator_accuracy"]) == 0


def test_wae_gan_of_a_discriminator_that_knows_nothing(params, batch):
    method = make("wae-gan", hp={"prior_weight": 10.0})
    (_, terms), (value, _) = of_a_silent_discriminator(method, params, batch)
    np.testing.assert_allclose(terms["adversarial"], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(value, 20 * np.log(2), rtol=1e-6)


def test_factor_vae_permutes_the_second_batch(params, batch):
    """Only then do the second batch's images change the loss."""
    shape = (32, 16, 16, 1)
    images = {"x": batch["x"], "fresh_x": np.ones(shape, np.float32)}
    two, one = (make("factor-vae", batches=batches) for batches in ("two", "one"))
    assert two.needs == ("x", "fresh_x")
    assert one.needs == ("x",)
    changed = {**images, "fresh_x": np.zeros(shape, np.float32)}
    of = jax.jit(lambda b: [loss_of(method, params, b, KEY, objective=1)[0] for method in (two, one)])
    values = np.array([of(images), of(changed)])
    assert values[0, 0] != values[1, 0]
    assert values[0, 1] == values[1, 1]


@pytest.mark.process
def test_trained_discriminator_finds_the_total_correlation():
    """FactorVAE around an encoder that hands on Gaussian data, whose total correlation is known."""
    points = Network(lambda key: {}, lambda params, x: Posterior(x[:, 0, 0, :], jnp.full((len(x), 2), -20.0)))
    nothing = Network(lambda key: {}, lambda params, z: z[:, None, None, :] * 0.0)
    networks = {"encoder": points, "decoder": nothing, "discriminator": discriminator(2, 2, (32, 32))}
    hyperparameters = FactorVAE(discriminator_learning_rate=5e-3)
    method = factor_vae(networks, likelihood=gaussian(), hyperparameters=hyperparameters)
    init, update = make_train_step(method, dataset_size=2)

    def correlated(key, n, rho):
        one, other = jax.random.normal(key, (2, n))
        return jnp.stack([one, rho * one + jnp.sqrt(1 - rho**2) * other], axis=1)[:, None, None, :]

    @jax.jit
    def trained(rho):
        def step(i, state):
            keys = jax.random.split(jax.random.fold_in(KEY, i))
            images = {"x": correlated(keys[0], 512, rho), "fresh_x": correlated(keys[1], 512, rho)}
            slower = hyperparameters.discriminator_learning_rate * (1 - i / 300)
            hp = state.hyperparameters._replace(discriminator_learning_rate=slower)
            return update(state._replace(hyperparameters=hp), images)[0]

        params = jax.lax.fori_loop(0, 300, step, init(KEY)).params
        many = {"x": correlated(jax.random.key(9), 100_000, rho)}
        _, terms = loss_of(method, params, many, KEY)
        _, own_terms = loss_of(method, params, many | {"fresh_x": many["x"]}, KEY, objective=1)
        return terms["total_correlation"], own_terms["discriminator_accuracy"]

    for rho, tc in ((0.8, 0.51083), (0.0, 0.0)):
        estimate, accuracy = map(float, trained(rho))
        assert abs(estimate - tc) < 0.04
        assert (accuracy > 0.55) == (rho > 0)


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_vae_penalty_is_the_kernels(kind, params, batch):
    hp = {"lambda_od": 3.0, "lambda_d": 7.0}

    @jax.jit
    def evaluate(params, batch):
        plain, _ = loss_of(make("vae"), params, batch, KEY)
        want = losses.dip_vae_penalty(*posterior(params, batch["x"]), kind=kind, **hp)
        return *loss_of(make(f"dip-vae-{kind}", hp=hp), params, batch, KEY), plain, want

    value, terms, plain, want = evaluate(params, batch)
    np.testing.assert_allclose(terms["moment_penalty"], want, rtol=1e-5)
    np.testing.assert_allclose(value, float(plain) + float(want), rtol=1e-6)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("encoder", ["deterministic", "gaussian"])
def test_wae_mmd_is_the_kernels(kernel, encoder, params, batch):
    @jax.jit
    def evaluate(params, batch):
        _, terms = loss_of(make("wae-mmd", kernel=kernel, encoder=encoder), params, batch, KEY)
        noise, prior = jax.random.split(KEY)
        mean, logvar = posterior(params, batch["x"])
        z = mean if encoder == "deterministic" else losses.reparameterize(noise, mean, logvar)
        drawn = losses.standard_normal(LATENTS).sample(prior, 32)
        similarity = losses.inverse_multiquadric(LATENTS) if kernel == "imq" else losses.radial_basis(float(LATENTS))
        return terms, losses.mmd_unbiased(z, drawn, kernel=similarity)

    terms, want = evaluate(params, batch)
    np.testing.assert_allclose(terms["mmd"], want, rtol=1e-5)


@pytest.mark.parametrize("name", ["wae-mmd", "wae-gan"])
def test_wae_moves_the_codes_to_the_prior(name):
    """Gaussian codes that start beside it: all there is to learn is how far to shift them."""
    shift = Network(
        lambda key: jnp.full(2, 2.0), lambda shift, x: Posterior(x[:, 0, 0, :] + shift[None], x[:, 0, 0, :])
    )
    nothing = Network(lambda key: {}, lambda params, z: z[:, None, None, :] * 0.0)
    entry = METHODS[name]
    networks = {"encoder": shift, "decoder": nothing}
    if name == "wae-gan":
        networks["discriminator"] = discriminator(2, 1, (32,))
    method = entry.build(networks, hyperparameters=entry.hyperparameters(learning_rate=1e-2))
    init, update = make_train_step(method, dataset_size=2)

    def step(i, state):
        return update(state, {"x": jax.random.normal(jax.random.fold_in(KEY, i), (64, 1, 1, 2))})[0]

    state = jax.jit(lambda key: jax.lax.fori_loop(0, 400, step, init(key)))(KEY)
    assert np.abs(state.params["encoder"]).max() < 0.3


@pytest.mark.parametrize("name", ["wae-mmd", "wae-gan"])
def test_wae_encodes_to_points_unless_its_encoder_is_gaussian(name, params, batch):
    mean, logvar = jax.jit(posterior)(params, batch["x"])
    for encoder, want in (("deterministic", np.full(mean.shape, POINT_LOGVAR, np.float32)), ("gaussian", logvar)):
        method = make(name, encoder=encoder)
        code = jax.jit(lambda params, batch, m=method: m.encode(Nets(m.networks, params), batch))(params, batch)
        np.testing.assert_array_equal(code.mean, mean)
        np.testing.assert_array_equal(code.logvar, want)


@pytest.mark.parametrize("divergence", ["mmd", "mmd-dimensionwise", "inclusive-kl"])
@pytest.mark.parametrize("prior", ["normal", "anisotropic", "student-t", "sparse"])
def test_decomposition_vae_measures_against_its_prior(prior, divergence, params, batch):
    _, terms = loss_of(make("decomposition-vae", prior=prior, divergence=divergence), params, batch, KEY)
    mean, logvar = posterior(params, batch["x"])
    z, p = losses.reparameterize(KEY, mean, logvar), PRIORS[prior](LATENTS)
    s = p.sample(jax.random.fold_in(KEY, Stream.PRIOR), 32)
    want = {
        "mmd": lambda: losses.mmd_unbiased(z, s, kernel=losses.inverse_multiquadric(LATENTS)),
        "mmd-dimensionwise": lambda: losses.mmd_dimensionwise(z, s, kernel=PER_LATENT),
        "inclusive-kl": lambda: losses.inclusive_kl(s, p.log_density(s), mean, logvar).mean(),
    }[divergence]()
    np.testing.assert_allclose(terms["prior_distance"], want, rtol=1e-4)
    if prior in ("normal", "anisotropic"):
        kl = losses.kl_gaussian(mean, logvar, jnp.zeros(LATENTS), jnp.log(p.variances)).mean()
    else:
        kl = losses.sampled_kl(z, mean, logvar, p.log_density).mean()
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)


def test_decomposition_vae_takes_any_prior_and_says_what_does_not_fit(params, batch):
    mine = make("decomposition-vae", prior=lambda latents: losses.student_t(latents, df=3.0))
    named = make("decomposition-vae", prior="student-t")
    kl = jax.jit(lambda params: [loss_of(method, params, batch, KEY)[1]["kl"] for method in (mine, named)])(params)
    assert float(kl[0]) != float(kl[1])
    with pytest.raises(ValueError, match=r"\[..., 2\] under this prior"):
        jax.eval_shape(lambda: loss_of(make("decomposition-vae", prior="pinwheel"), params, batch, KEY))
    with pytest.raises(ValueError, match="alpha and beta must be >= 0"):
        make("decomposition-vae", hp={"alpha": -1.0})


def test_iwae_bound_rises_with_the_samples(params, batch):
    methods = [make("iwae", samples=samples) for samples in (1, 5, 50)]

    @jax.jit
    def mean_losses(params):
        def of(key):
            return jnp.stack([loss_of(method, params, batch, key)[0] for method in methods])

        return jax.lax.map(of, jax.random.split(KEY, 20)).mean(axis=0)

    one, five, fifty = np.asarray(mean_losses(params))
    assert one > five + 0.1
    assert five > fifty + 0.1
    with pytest.raises(ValueError, match="at least 1 sample"):
        make("iwae", samples=0)
