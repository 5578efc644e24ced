"""PIPE: decoded recombinations pass for reconstructions if the codes take all combinations of their values."""

import numpy as np
import pytest

from jaxvae.metrics import METRICS, metric_named, pipe, pipe_discriminator

RNG = np.random.default_rng(0)
INDEPENDENT = RNG.uniform(-1, 1, (2000, 2))
EQUAL = np.repeat(INDEPENDENT[:, :1], 2, axis=1)
SHORT = {"evaluations": 2, "interval": 6400, "learning_rate": 1e-3}


def test_codes_that_leave_combinations_out_are_found():
    independent, equal = (pipe(codes, lambda z: z, **SHORT) for codes in (INDEPENDENT, EQUAL))
    assert independent.score > 0.9
    assert equal.score < 0.2
    assert equal.score == pytest.approx(2 * (1 - equal.accuracy[-1]))
    assert (equal.num_train, equal.num_test, equal.examples_seen) == (1000, 1000, 12_800)
    assert "1000 reconstructions to learn from, 1000 to test on, 12800 examples seen" in equal.definition


def test_permuted_latents_have_the_same_marginals():
    """A discriminator tells normal latents from uniform ones, and not from permuted ones."""
    normal = RNG.normal(size=(2000, 2))
    permuted, uniform = (pipe(normal, lambda z: z, resampling=kind, **SHORT) for kind in ("permuted", "uniform"))
    assert uniform.score < 0.7 < 0.9 < permuted.score


@pytest.mark.process
def test_images_and_a_constant_decoder():
    seen = []

    def constant(codes):
        seen.append(codes.shape)
        return np.full((len(codes), 12, 16, 3), 0.5, np.float32)

    found = pipe(EQUAL[:600], constant, evaluations=1, interval=64)
    assert found.score == 1
    assert sum(rows for rows, _ in seen) == 1200
    assert found.accuracy == (0.5,)

    def bars(codes):
        return np.broadcast_to(codes[:, :1, None, None] > codes[:, 1:, None, None], (len(codes), 8, 8, 1))

    assert pipe(EQUAL[:600], bars, evaluations=1, interval=3200, learning_rate=3e-3).score < 0.8


def test_the_same_score_every_time():
    one, two = (pipe(EQUAL[:100], lambda z: z, evaluations=1, interval=320).to_json() for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resampling": "normal"}, "resampling must be uniform or permuted, got 'normal'"),
        ({"evaluations": 0}, "evaluations and an interval of at least 1"),
        ({"batch_size": 1}, "2 examples per batch"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        pipe(EQUAL, lambda z: z, **settings)
    with pytest.raises(ValueError, match="at least 4 codes"):
        pipe(EQUAL[:3], lambda z: z)


def test_a_decoder_must_be_finite():
    with pytest.raises(ValueError, match="some of its values are not finite"):
        pipe(np.random.default_rng(0).normal(size=(20, 2)), lambda codes: np.where(codes > 0, np.nan, codes))


def test_it_is_found_by_name():
    metric = metric_named("pipe")
    assert (metric.needs_factors, metric.needs_decoder) == (False, True)
    assert not metric_named("mig").needs_decoder
    assert "pipe" not in METRICS


def test_recombinations_of_quantised_codes_are_of_their_values():
    values = np.array([-0.5, 0.1, 0.5])
    codes, seen = values[RNG.integers(0, 3, (40, 2))], []

    def decode(z):
        seen.append(z)
        return z

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipe_discriminator, "Discriminator", Guessing)
        found = metric_named("pipe", quantised=True).compute(codes, decode)
    assert set(np.unique(np.concatenate(seen))) == set(values)
    assert found.definition.startswith("PIPE, permuted latents")


class Guessing:
    """In place of the discriminator."""

    def __init__(self, *settings):
        pass

    def train(self, steps):
        pass

    def positive(self, examples):
        return np.full(len(examples), 0.5)
