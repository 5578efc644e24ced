"""What a command for many runs stands for."""

import pytest

from jaxvae.cli.train import parse_train
from jaxvae.runs.config import check_config, default_config
from jaxvae.runs.sweep import members_of, parse_seeds, parse_sweep

CONFIG = default_config("beta-tc-vae")


def test_values_between_commas_are_a_sweep():
    words = ["beta-tc-vae", "--sweep", "beta=1,2.5", "learning-rate=1e-3,1e-4", "--alpha", "2", "--run", "a,b"]
    args = parse_train(words)
    assert args.sweep == {"beta": [1.0, 2.5], "learning_rate": [1e-3, 1e-4]}
    assert (args.config.hyperparameters.beta, args.config.hyperparameters.alpha) == (1.0, 2.0)


def test_a_sweep_of_version_0_1_is_read(capsys):
    args = parse_train(["beta-tc-vae", "--hp.beta", "1,2.5", "--hp.learning-rate=1e-3,1e-4", "--hp.alpha", "2"])
    assert args.sweep == {"beta": [1.0, 2.5], "learning_rate": [1e-3, 1e-4]}
    assert args.config.hyperparameters.alpha == 2.0
    assert capsys.readouterr().err.splitlines() == [
        "jaxvae: --hp.beta 1,2.5 is deprecated: use --sweep beta=1,2.5",
        "jaxvae: --hp.learning-rate 1e-3,1e-4 is deprecated: use --sweep learning_rate=1e-3,1e-4",
        "jaxvae: --hp.alpha is deprecated: use --alpha",
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("beta=1,x", "--sweep beta takes numbers between commas, got '1,x'"),
        ("beta", "NAME=VALUE,VALUE, such as --sweep beta=1,4; got 'beta'"),
        ("latents=2,3", "unknown hyperparameter of beta-tc-vae 'latents'"),
        ("beta=1,1.0", "--sweep beta names a value twice"),
    ],
)
def test_no_sweep(word, message):
    with pytest.raises(ValueError, match=message):
        parse_sweep([word], CONFIG)


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), (":2", [0, 1]), ("4:6", [4, 5]), ("7", [7]), ("3,1", [3, 1])]
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3:3", "a", "1,1", "-1", "1:2:3", "1,"])
def test_no_seeds(text):
    with pytest.raises(ValueError, match="--seeds takes first:last"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:100000000", "--seeds takes at most 10,000 seeds in one command, got '0:100000000'"),
        (f"0:{10**30}", "--seeds takes at most 10,000"),
        ("-5:99999", "--seeds takes at most 10,000"),
        (",".join(map(str, range(10_001))), "--seeds takes at most 10,000"),
        (f"{2**32}", "--seeds must be below 2\\*\\*32, got 4294967296"),
        (f"{10**30}:{10**30 + 2}", "--seeds must be below"),
        (f"0:{'9' * 5000}", "--seeds takes first:last"),
    ],
)
def test_huge_seeds_are_refused_at_once(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_seeds(text)
    assert len(str(error.value)) < 200


def test_the_most_seeds():
    assert parse_seeds("5:10005") == list(range(5, 10_005))
    assert parse_seeds(f"{2**32 - 1}") == [2**32 - 1]


def test_no_more_members_than_fit_nor_two_of_one_name():
    with pytest.raises(ValueError, match="--sweep and --seeds ask for 20,000 runs; one command trains at most 10,000"):
        members_of(CONFIG, range(10_000), {"beta": [1.0, 4.0]})
    with pytest.raises(ValueError, match="alike in six digits"):
        members_of(CONFIG, [0], {"beta": [1.0, 1.00000001]})


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "microbatch", "log_every", "checkpoint_every", "image_size", "latents"]
)
def test_whole_numbers_that_overflow_are_refused(name):
    for value in (2**31, 10**30):
        with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} must be below 2\\*\\*31, got {value}"):
            check_config(CONFIG.with_flags(**{name: value}))
    check_config(CONFIG.with_flags(steps=2**31 - 1))
    with pytest.raises(ValueError, match="--discriminator must be below"):
        check_config(default_config("factor-vae").with_flags(discriminator=(256, 2**40)))


def test_hyperparameters_that_float32_does_not_hold_are_refused():
    for value in (1e39, -1e39, float("nan")):
        with pytest.raises(ValueError, match="the hyperparameter beta must be a finite number"):
            check_config(CONFIG.with_flags(beta=value))


def test_every_combination_is_a_member():
    members = members_of(CONFIG, [0, 1], {"beta": [1.0, 4.0], "learning_rate": [1e-3]})
    assert [member.name for member in members] == [
        "beta-1-learning-rate-0.001-seed-0",
        "beta-1-learning-rate-0.001-seed-1",
        "beta-4-learning-rate-0.001-seed-0",
        "beta-4-learning-rate-0.001-seed-1",
    ]
    assert [(member.config.hyperparameters.beta, member.config.seed) for member in members] == [
        (1, 0),
        (1, 1),
        (4, 0),
        (4, 1),
    ]
