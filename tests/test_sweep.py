"""What a command for many runs stands for."""

import pytest

from jaxvae.config import default_config
from jaxvae.sweep import members_of, parse_seeds, take_sweep


def test_values_between_commas_are_a_sweep():
    words = ["beta-tc-vae", "--hp.beta", "1,2.5", "--hp.learning-rate", "1e-3,1e-4", "--hp.alpha", "1", "--run", "a,b"]
    plain, sweep = take_sweep(words)
    assert plain == [
        *("beta-tc-vae", "--hp.beta", "1", "--hp.learning-rate", "1e-3", "--hp.alpha", "1", "--run", "a,b")
    ]
    assert sweep == {"beta": [1.0, 2.5], "learning_rate": [1e-3, 1e-4]}
    with pytest.raises(ValueError, match="--hp.beta takes numbers between commas, got '1,x'"):
        take_sweep(["--hp.beta", "1,x"])


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
    members = members_of(default_config("beta-tc-vae"), [0, 1], {"beta": [1.0, 4.0], "learning_rate": [1e-3]})
    assert [member.name for member in members] == [
        "beta-1-learning-rate-0.001-seed-0",
        "beta-1-learning-rate-0.001-seed-1",
        "beta-4-learning-rate-0.001-seed-0",
        "beta-4-learning-rate-0.001-seed-1",
    ]
    assert [(member.config.hp.beta, member.config.seed) for member in members] == [(1, 0), (1, 1), (4, 0), (4, 1)]
    with pytest.raises(ValueError, match="--hp.beta names a value twice"):
        members_of(default_config("beta-tc-vae"), [0], {"beta": [1.0, 1.0]})
