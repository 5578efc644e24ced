"""The study's grid: how many models, each with a number, and what they are."""

import pytest

from jaxvae.runs.build import build
from jaxvae.runs.config import check_config
from jaxvae.study.grid import GRIDS, STUDY, config_of, model_of, number_of, numbers_of_shard

FULL = GRIDS["full"]


def test_the_published_grid_has_12600_different_models_1800_for_each_data_set():
    models = [model_of(FULL, number) for number in range(FULL.size)]
    assert FULL.size == len({model[1:] for model in models}) == 7 * 36 * 50
    for data in FULL.data:
        of_data = [model for model in models if model.data == data]
        assert len(of_data) == 1800
        assert len([model for model in of_data if model.seed == 7]) == 36
    assert [model.number for model in models] == list(range(12_600))


def test_data_is_outermost_and_seeds_innermost():
    one = model_of(FULL, 0)
    assert one[1:] == ("sprites", "beta-vae", "beta", 1.0, 0)
    assert model_of(FULL, 1)[1:] == ("sprites", "beta-vae", "beta", 1.0, 1)
    assert model_of(FULL, 50)[1:] == ("sprites", "beta-vae", "beta", 2.0, 0)
    assert model_of(FULL, 299)[1:] == ("sprites", "beta-vae", "beta", 16.0, 49)
    assert model_of(FULL, 1800)[1:] == ("color-sprites", "beta-vae", "beta", 1.0, 0)
    assert model_of(FULL, 12_599)[1:] == ("shapes3d:3dshapes.h5", "annealed-vae", "c_end", 100.0, 49)


@pytest.mark.parametrize("preset", GRIDS)
def test_methods_are_in_the_order_of_the_public_configuration(preset):
    """Of disentanglement_lib's unsupervised_study_v1, executed: its model 300 is a FactorVAE, 1,500 an AnnealedVAE."""
    grid = GRIDS[preset]
    order = ("beta-vae", "factor-vae", "dip-vae-i", "dip-vae-ii", "beta-tc-vae", "annealed-vae")
    each = grid.size // len(grid.data) // 6
    for place, method in enumerate(order):
        for number in (place * each, (place + 1) * each - 1):
            for data in range(len(grid.data)):
                assert model_of(grid, 6 * each * data + number).method == method
    assert model_of(FULL, 300)[1:] == ("sprites", "factor-vae", "gamma", 10.0, 0)
    assert model_of(FULL, 1500)[1:] == ("sprites", "annealed-vae", "c_end", 5.0, 0)


@pytest.mark.parametrize("preset", GRIDS)
def test_a_number_comes_back(preset):
    grid = GRIDS[preset]
    for number in range(0, grid.size, 7):
        model = model_of(grid, number)
        assert number_of(grid, model.data, model.method, model.strength, model.seed) == number


def test_strengths_are_the_published_ones():
    values = {sweep.method: sweep.values for sweep in STUDY}
    assert values == {
        "beta-vae": (1, 2, 4, 6, 8, 16),
        "annealed-vae": (5, 10, 25, 50, 75, 100),
        "factor-vae": (10, 20, 30, 40, 50, 100),
        "dip-vae-i": (1, 2, 5, 10, 20, 50),
        "dip-vae-ii": (1, 2, 5, 10, 20, 50),
        "beta-tc-vae": (1, 2, 4, 6, 8, 10),
    }


def test_settings_are_the_published_ones():
    for method in range(6):
        config = config_of(FULL, 300 * method + 51)
        assert (config.training.steps, config.training.batch_size) == (300_000, 64)
        assert (config.networks.latents, config.networks.network) == (10, "conv")
        assert (config.hyperparameters.learning_rate, config.source.image_size, config.seed) == (1e-4, 64, 1)
        assert config.flags().get("discriminator", (1000,) * 6) == (1000,) * 6
    hp = config_of(FULL, number_of(FULL, "sprites", "dip-vae-i", 5.0, 0)).hyperparameters
    assert (hp.lambda_od, hp.lambda_d) == (5, 50)
    hp = config_of(FULL, number_of(FULL, "sprites", "dip-vae-ii", 5.0, 0)).hyperparameters
    assert (hp.lambda_od, hp.lambda_d) == (5, 5)
    hp = config_of(FULL, number_of(FULL, "sprites", "annealed-vae", 50.0, 0)).hyperparameters
    assert (hp.c_start, hp.c_end, hp.gamma, hp.warmup) == (0, 50, 1000, 100_000)
    assert config_of(FULL, number_of(FULL, "sprites", "beta-tc-vae", 6.0, 3)).hyperparameters.beta == 6


def test_the_ramp_is_a_third_of_the_training_whatever_its_length():
    grid = GRIDS["small"]
    config = config_of(grid, number_of(grid, "sprites", "annealed-vae", 5.0, 0))
    assert config.hyperparameters.warmup == pytest.approx(config.training.steps / 3)


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_small_grids_can_be_built(preset):
    grid = GRIDS[preset]
    for number in range(0, grid.size, grid.seeds * grid.shape[2]):
        config = config_of(grid, number)
        check_config(config)
        assert build(config).method.name == config.method
        if "learning_rate" in config.hyperparameters._fields:
            assert config.hyperparameters.learning_rate == 1e-3


@pytest.mark.parametrize("of", [1, 2, 7, 24])
def test_shards_are_all_models_once_and_of_one_size(of):
    grid = GRIDS["tiny"]
    shards = [numbers_of_shard(grid, shard, of) for shard in range(of)]
    assert [number for shard in shards for number in shard] == list(range(grid.size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_what_is_not_in_the_grid():
    with pytest.raises(ValueError, match="0 to 12599, got 12600"):
        model_of(FULL, 12_600)
    with pytest.raises(ValueError, match="no data 'mnist' in this study; there are sprites"):
        number_of(FULL, "mnist", "beta-vae", 1.0, 0)
    with pytest.raises(ValueError, match=r"beta-vae has beta 1.0, 2.0.* got 3.0 and 0"):
        number_of(FULL, "sprites", "beta-vae", 3.0, 0)
    with pytest.raises(ValueError, match="seeds 0 to 49"):
        number_of(FULL, "sprites", "beta-vae", 1.0, 50)
    for shard, of in ((2, 2), (-1, 2), (0, 0), (0, 99)):
        with pytest.raises(ValueError, match="shards are 0/n to n-1/n"):
            numbers_of_shard(GRIDS["tiny"], shard, of)
