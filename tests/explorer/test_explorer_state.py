"""What the explorer shows: sliders, codes, decoded examples and pictures of one's own."""

import base64
import io
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae.cli.main import main
from jaxvae.data import cells, from_arrays
from jaxvae.data.pictures import picture_of_bytes
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.explorer.decoding import BATCHES
from jaxvae.explorer.state import Explorer
from jaxvae.method import Method, Network, Posterior, no_code, no_image
from jaxvae.methods import beta_vae, by_columns
from jaxvae.methods.autoencoding import POINT_LOGVAR
from jaxvae.networks import autoencoder
from jaxvae.runs.absent import Absent, NoExamples
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.runs.score import examples_of, represent
from tests.explorer.explored import pixels, small_run, untrained

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run():
    return small_run()


@pytest.fixture(scope="module")
def explorer(run):
    return Explorer(run, 96)


def png(array, kind="PNG", **options):
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind, **options)
    return content.getvalue()


def test_codes_are_of_the_examples_beside_them(run, explorer):
    codes = represent(run, 96)
    np.testing.assert_array_equal(explorer.codes.mean, codes.mean)
    np.testing.assert_array_equal(explorer.examples, examples_of(run, 96).astype(np.float32))
    shown = pixels(explorer.examples_at([3, 0]))
    np.testing.assert_array_equal(shown, np.rint(255 * explorer.examples[[3, 0]]))
    np.testing.assert_allclose(run.encode(explorer.examples[:4]).mean, codes.mean[:4], atol=1e-5)
    with pytest.raises(ValueError, match="0 to 95"):
        explorer.examples_at([96])
    with pytest.raises(ValueError, match="0 to 95"):
        explorer.examples_at([10**20])


def test_without_data_examples_are_drawn_from_the_prior(run):
    source = run.source
    sizes = (source.event_shape, source.factor_names, source.factor_sizes, source.size)
    gone = run._replace(source=Absent(source.name, *sizes, None, "it is gone"))
    explorer = Explorer(gone, 300)
    assert explorer.missing_data == "it is gone"
    np.testing.assert_allclose(explorer.codes.mean.mean(axis=0), 0, atol=0.25)
    np.testing.assert_allclose(explorer.codes.mean.std(axis=0), 1, atol=0.2)
    np.testing.assert_allclose(explorer.examples[:8], run.decoder(explorer.codes.mean[:8]), atol=1e-6)
    told = explorer.describe()
    assert told["facts"]["examples shown"] == "300, drawn from the prior"
    assert sorted(latent["index"] for latent in told["latents"]) == [0, 1, 2, 3]
    assert told["takesPictures"]
    assert explorer.draw_from_prior(3) == Explorer(run, 96).draw_from_prior(3)
    with pytest.raises(NoExamples, match="it is gone"):
        Explorer(gone._replace(method=gone.method._replace(decode=no_image)), 96)


def test_latents_are_named_without_missing_labels():
    """ "missing" is no value of a factor, whatever the codes tell of it."""
    labels = np.array(["a", "b", None] * 40, object)
    source = from_columns(
        {"x": np.arange(120) % 7 + 0.5, "y": np.arange(120.0) ** 1.1, "type": labels}, Columns(labels=("type",))
    )
    run = untrained(
        beta_vae(
            autoencoder("mlp-small", source.event_shape, 2, schema=source.schema), likelihood=by_columns(source.schema)
        ),
        source,
    )
    explorer = Explorer(run, 120)
    np.testing.assert_allclose(explorer.latents.factor_entropy, [np.log(2)], rtol=1e-6)


def test_sliders_are_ordered_by_kl_and_reach_all_codes(explorer):
    told = explorer.describe()
    sizes = [latent["size"] for latent in told["latents"]]
    assert sizes == sorted(sizes, reverse=True)
    kl = explorer.codes.kl_per_latent()
    np.testing.assert_allclose(sizes, np.sort(kl)[::-1], rtol=1e-4)
    for latent in told["latents"]:
        values = explorer.codes.mean[:, latent["index"]]
        assert latent["low"] <= min(-3, values.min()) + 1e-3  # six digits are sent
        assert latent["high"] >= max(3, values.max()) - 1e-3
        assert latent["active"] == (kl[latent["index"]] > 0.1)
        if latent["active"]:
            assert latent["name"].split(" · ")[1] in explorer.run.source.factor_names
    assert np.shape(told["codes"]) == (96, 4)
    assert told["labels"][0]["of"] == explorer.codes.factors[:, 0].tolist()


@pytest.mark.parametrize("count", [1, 3, BATCHES[-1]])
def test_a_batch_decodes_as_each_of_its_codes(run, explorer, count):
    codes = explorer.codes.mean[:count]
    expected = np.rint(255 * np.clip(run.decoder(codes), 0, 1))
    assert np.abs(pixels(explorer.decode(codes)) - expected).max() <= 1  # rounding


@pytest.mark.parametrize(
    "codes",
    [np.zeros((1, 3)), np.zeros((0, 4)), np.zeros((65, 4)), np.zeros(4), np.full((1, 4), np.nan), np.full((1, 4), 1e9)],
)
def test_other_codes_are_refused(explorer, codes):
    with pytest.raises(ValueError, match="codes must be 1 to 64 lists of 4 numbers|latents must be numbers from"):
        explorer.decode(codes.astype(np.float32))


def test_an_own_picture_is_encoded_as_an_example(explorer, run):
    large = np.kron(explorer.examples[5][..., 0], np.ones((4, 4))) * 255
    wide = np.pad(large.astype(np.uint8), ((0, 0), (20, 20)))
    answer = explorer.encode(png(wide))
    small = pixels(base64.b64decode(answer["pixels"]))[0]
    assert np.abs(small.astype(int) - 255 * explorer.examples[5]).mean() < 20  # Lanczos rings at the edges
    np.testing.assert_allclose(answer["code"], run.encode(small[None] / np.float32(255)).mean[0], atol=0.1)
    colour = np.repeat(wide[..., None], 3, axis=-1)
    np.testing.assert_allclose(explorer.encode(png(colour))["code"], answer["code"], atol=1e-4)
    for kind in ("JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        assert len(explorer.encode(png(wide, kind))["code"]) == 4


def bomb():
    """A PNG file of few bytes that says that it has 40,000 x 40,000 pixels."""
    content = bytearray(png(np.zeros((4, 4), np.uint8)))
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no picture in one of the formats"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no picture in one of the formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture in one of the formats"),
        (png(RNG.integers(0, 256, (64, 64), np.uint8))[:400], "can't be read"),
        (bomb(), "pixels"),
    ],
)
def test_hostile_pictures_are_refused(explorer, content, told):
    with pytest.raises(ValueError, match=told) as error:
        explorer.encode(content)
    assert "\n" not in str(error.value)


def test_the_limit_of_pixels_is_checked_before_they_are_decoded():
    with pytest.raises(ValueError, match="at most 15 are read"):
        picture_of_bytes(png(np.zeros((4, 4), np.uint8)), 15)


def test_an_animation_goes_forth_and_back(explorer):
    codes = np.repeat(explorer.codes.mean[:1], 5, axis=0)
    codes[:, 0] = np.linspace(-3, 3, 5)
    with Image.open(io.BytesIO(explorer.animate(codes, codes[:, 0], "z0"))) as moving:
        assert (moving.format, moving.n_frames) == ("GIF", 8)
    with pytest.raises(ValueError, match="at least two codes"):
        explorer.animate(codes[:1], codes[:1, 0], "z0")


def test_random_codes_depend_on_the_seed(explorer):
    assert explorer.draw_from_prior(1) == explorer.draw_from_prior(1) != explorer.draw_from_prior(2)


def linear_run(x, latents=2, **changes):
    """A run of vectors or series whose code is their first values, each of which moves some values."""
    source = from_arrays(x, real=True, name="rows")
    width = int(np.prod(source.event_shape))

    def encode(net, batch):
        mean = batch["x"].reshape(len(batch["x"]), -1)[:, :latents]
        return Posterior(mean, mean * 0 - 2)

    def decode(net, code):
        rows = code @ (np.eye(latents, width) * np.array([[2.0], [1.0]])).astype(np.float32)
        return rows.reshape(-1, *source.event_shape)

    method = Method("linear", {"a": Network(lambda key: {}, None)}, (), (), encode, decode, **changes)
    return untrained(method, source)


def test_bars_of_a_table_are_the_columns_that_change():
    x = RNG.normal(size=(50, 5)).astype(np.float32)
    explorer = Explorer(linear_run(x), 40)
    spread = explorer.examples.std(axis=0)
    told = explorer.describe()
    names = {latent["index"]: latent["detail"] for latent in told["latents"]}
    assert [names[d].split()[0] for d in (0, 1)] == ["x0", "x1"]
    base = explorer.codes.mean[3]
    (bars,) = explorer.decode((base + np.array([[0.0, 0.5]])).astype(np.float32), base)
    first, second = bars["bars"][:2]
    assert first["name"] == "x1"
    np.testing.assert_allclose(first["change"], 0.5 / spread[1], rtol=1e-4)
    assert abs(second["change"]) < 1e-6
    assert explorer.examples_at([2])[0]["values"][4] == ["x4", f"{explorer.examples[2][4]:.4g}"]


def test_a_decoder_that_reads_the_example_decodes_with_it():
    """The expected counts of a cell add up to its own library size, for every code of it."""
    config = default_config("drvi").with_flags(data="cells", latents=3, hidden=(8,), covariates=("batch",), steps=5)
    source = config.batches.wrap(cells(cells=50, genes=12, programs=2), "drvi")
    run = untrained(build_method(config, networks_of(config, source), source), source)
    explorer = Explorer(run, 50)
    assert explorer.describe()["readsExamples"]
    codes = explorer.codes.mean[[4, 4, 7]] + np.array([[0.0], [1.0], [0.0]], np.float32)
    np.testing.assert_allclose(
        explorer._decoded(codes, [4, 4, 7]).sum(axis=1), explorer.examples[[4, 4, 7]].sum(axis=1), rtol=1e-4
    )
    mixed = explorer._decoded(codes, [4, None, 7])
    np.testing.assert_allclose(mixed[1], run.decoder(codes[1:2])[0], rtol=1e-5)
    np.testing.assert_allclose(mixed[2].sum(), explorer.examples[7].sum(), rtol=1e-4)
    (bars,) = explorer.decode(codes[:1], codes[0], [4])
    assert max(abs(bar["change"]) for bar in bars["bars"]) < 1e-5
    for rows in ([50], [-1], [True], [0, 1], ["0"]):
        with pytest.raises(ValueError, match="rows must be 1 numbers of examples, 0 to 49, or null"):
            explorer.decode(codes[:1], None, rows)


def test_series_are_lines():
    explorer = Explorer(linear_run(RNG.normal(size=(20, 6, 2)).astype(np.float32)), 20)
    (lines,) = explorer.examples_at([1])
    np.testing.assert_allclose(np.transpose(lines["lines"]), explorer.examples[1], rtol=1e-4)
    assert np.shape(explorer.decode(explorer.codes.mean[:2])[1]["lines"]) == (2, 6)
    assert not explorer.describe()["takesPictures"]


def test_a_method_without_a_code_shows_its_own_pictures():
    source = from_arrays(RNG.random((20, 8, 8, 1), np.float32), name="pictures")
    method = Method("maps", {}, (), (), encode=no_code, pictures=lambda net, key, batch: {"a map": batch["x"] - 0.5})
    explorer = Explorer(untrained(method, source), 20)
    told = explorer.describe()
    assert (told["encodes"], told["decodes"], told["draws"], told["latents"]) == (False, False, True, [])
    with Image.open(io.BytesIO(explorer.drawn(0))) as picture:
        assert picture.format == "PNG"
    for act in (
        lambda: explorer.decode(np.zeros((1, 0))),
        lambda: explorer.encode(b""),
        lambda: explorer.draw_from_prior(0),
    ):
        with pytest.raises(ValueError, match="maps"):
            act()


def test_codes_of_whole_numbers_have_sliders_of_whole_numbers(run):
    def encode(net, batch):
        values = batch["factors"][:, :4].astype(jnp.float32)
        return Posterior(values, jnp.full_like(values, POINT_LOGVAR))

    method = run.method._replace(encode=encode)
    latents = {latent["index"]: latent for latent in Explorer(run._replace(method=method), 200).describe()["latents"]}
    assert (latents[1]["low"], latents[1]["high"], latents[1]["steps"]) == (0, 5, 5)  # six scales


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no/such/run"], "no run in no/such/run"),
        (["no/such/run", "--port", "99999"], "--port must be 0 to 65535, got 99999"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explore", *arguments])
    assert stop.value.code in (1, 2)
    assert told in capsys.readouterr().err


def test_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["explore", "run"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "jaxvae: the explorer needs starlette and uvicorn: pip install 'jaxvae[explore]'\n"
    )


def test_jax_is_told_of_few_sizes_of_batches(run, explorer):
    sizes = set()
    decode = run.method.decode

    def noted(net, code):
        sizes.add(len(code))
        return decode(net, code)

    counted = Explorer(run._replace(method=run.method._replace(decode=noted)), 8)
    sizes.clear()
    for count in range(1, 65):
        counted.decode(np.zeros((count, 4), np.float32))
    assert sizes == set(BATCHES)
    assert jax.devices()[0].platform == "cpu"
