"""What a command for many runs stands for."""

import pytest

from jaxvae.cli.train import parse_train
from jaxvae.runs.config import default_config
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
