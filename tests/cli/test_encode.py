"""`jaxvae encode` and `jaxvae decode`: equal codes from every format and place, and one line for what is wrong."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae.analysis import find_clusters
from jaxvae.cli.main import main
from jaxvae.data import Origin, Subset, from_arrays, origin_of
from jaxvae.data.source import Wrapper
from jaxvae.method import Nets
from jaxvae.runs import load, load_run
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.columns import numbered, numbers_of, read_columns
from jaxvae.runs.config import default_config
from jaxvae.runs.encode import decode_all, encode_all, open_other
from jaxvae.runs.folder import open_run

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 16, 16, 1), np.uint8)
FACTORS = np.stack(np.unravel_index(RNG.permutation(24), (4, 6)), axis=1)
"""A whole grid of factors, in another order than the source keeps it."""
TRAIN = ["--network", "mlp-small", "--steps", "2", "--batch-size", "8", "--no-score"]


@pytest.fixture(scope="module", autouse=True)
def checkpoints_are_read_once():
    """Most of the time of a command is Orbax's."""
    with pytest.MonkeyPatch.context() as patch:
        read, known = load.restore, {}

        def restore(folder, step, like):
            if (folder, step) not in known:
                known[folder, step] = read(folder, step, like)
            return known[folder, step]

        patch.setattr(load, "restore", restore)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A VAE-SNE of pictures with factors in a file, and the same pictures in a folder."""
    place = tmp_path_factory.mktemp("encode")
    np.savez(place / "images.npz", images=IMAGES, factors=FACTORS, factor_names=["shape", "size"])
    (place / "pictures" / "more").mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(place / "pictures" / ("more" if number > 19 else ".") / f"{number:02}.png")
    data = ["--data", f"arrays:{place / 'images.npz'}"]
    main(["train", "vae-sne", *data, *TRAIN, "--latents", "3", "--components", "8", "--run", str(place / "run")])
    return place


@pytest.fixture(scope="module")
def run(place):
    return load_run(place / "run")


@pytest.fixture(scope="module")
def means(run):
    """What the encoder gives for the pictures in the order of the file."""
    return np.asarray(run.encode(IMAGES / np.float32(255)).mean)


def encode(place, out, *arguments):
    main(["encode", str(place / "run"), *map(str, arguments), "--out", str(out)])
    columns = read_columns(out, "z")
    return columns, numbers_of(out, columns, numbered(columns, "z"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "feather", "npy", "npz", "h5ad"])
def test_every_format_has_the_codes_in_the_order_of_the_file(ending, place, means, tmp_path, capsys):
    for package in {"parquet": ["pyarrow"], "feather": ["pyarrow"], "h5ad": ["anndata"]}.get(ending, []):
        pytest.importorskip(package)
    columns, codes = encode(place, tmp_path / "new" / f"codes.{ending}")
    np.testing.assert_allclose(codes, means, atol=1e-6)
    told = capsys.readouterr().out
    assert told == f"24 codes of 3 latents, with cluster, shape, size: {tmp_path / 'new' / f'codes.{ending}'}\n"
    if ending != "npy":
        assert columns["id"].tolist() == [str(row) for row in range(24)]
        assert np.stack([columns["shape"], columns["size"]], axis=1).tolist() == FACTORS.tolist()


def test_deviations_clusters_and_settings(place, run, means, tmp_path):
    columns, _ = encode(place, tmp_path / "codes.npz")
    logvar = np.asarray(run.encode(IMAGES / np.float32(255)).logvar, np.float64)
    deviations = np.stack([columns[f"sd{latent}"] for latent in range(3)], axis=1)
    np.testing.assert_allclose(deviations, np.exp(logvar / 2), rtol=1e-5)
    found = find_clusters(*Nets(run.method.networks, run.state.params).prior())
    assert columns["cluster"].tolist() == found.of_points(means).tolist()
    with np.load(tmp_path / "codes.npz") as file:
        settings = json.loads(str(file["settings"]))
    assert (settings["method"], settings["data"], settings["step"]) == ("vae-sne", "images", 2)
    assert settings["config"]["networks"]["latents"] == 3


def test_codes_do_not_depend_on_the_chunks(run):
    whole = encode_all(run)
    for chunk in (1, 7, 24):
        parts = encode_all(run, chunk=chunk)
        np.testing.assert_allclose(parts.means, whole.means, atol=1e-6)
        np.testing.assert_allclose(parts.standard_deviations, whole.standard_deviations, atol=1e-6)
        np.testing.assert_array_equal(parts.factors, whole.factors)
    decoded = decode_all(run, whole.means)
    np.testing.assert_allclose(decode_all(run, whole.means, chunk=7), decoded, atol=1e-6)
    assert decoded.shape == (24, 16, 16, 1)
    with pytest.raises(ValueError, match="the run has 3 latents, and the codes have 2"):
        decode_all(run, whole.means[:, :2])
    some = encode_all(run, limit=5)
    np.testing.assert_array_equal(some.means, whole.means[:5])  # the same bits: chunks are padded
    assert some.ids.tolist() == [0, 1, 2, 3, 4]


def test_pictures_have_the_names_of_their_files(place, means, tmp_path):
    columns, codes = encode(place, tmp_path / "a.csv", f"pictures:{place / 'pictures'}")
    names = [f"{number:02}.png" for number in range(20)] + [f"more/{number}.png" for number in range(20, 24)]
    assert columns["id"].tolist() == names
    np.testing.assert_allclose(codes, means, atol=1e-6)
    assert "shape" not in columns
    columns, codes = encode(place, tmp_path / "b.csv", place / "pictures" / "more" / "21.png")
    assert columns["id"].tolist() == ["21.png"]
    np.testing.assert_allclose(codes, means[[21]], atol=1e-6)


def test_a_picture_is_brought_to_the_size_of_the_run(place, tmp_path, run):
    large = RNG.integers(0, 256, (40, 60, 3), np.uint8)
    pages = [Image.fromarray(large), Image.fromarray(large[::-1])]
    pages[0].convert("L").save(tmp_path / "a.tif", save_all=True, append_images=[pages[1].convert("L")])
    columns, codes = encode(place, tmp_path / "a.csv", tmp_path / "a.tif")
    assert columns["id"].tolist() == ["a.tif:1", "a.tif:2"]
    small = pages[0].convert("L").crop((10, 0, 50, 40)).resize((16, 16), Image.Resampling.LANCZOS)
    expected = run.encode(np.asarray(small, np.float32)[None, ..., None] / 255).mean
    np.testing.assert_allclose(codes[:1], expected, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "pictures:"])
def test_pictures_of_a_folder_are_brought_to_the_size_of_the_run(prefix, tmp_path):
    """Also where the run was trained without --image-size, and the folder has no prefix."""
    Image.fromarray(RNG.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / "a.png")

    class Grey:
        source, config = from_arrays(IMAGES[:3]), default_config("vae")

    assert open_other(Grey, f"{prefix}{tmp_path}").event_shape == (16, 16, 3)


def test_other_arrays(place, means, tmp_path):
    order = RNG.permutation(24)
    np.save(tmp_path / "other.npy", IMAGES[order])
    _, codes = encode(place, tmp_path / "a.csv", f"arrays:{tmp_path / 'other.npy'}")
    np.testing.assert_allclose(codes, means[order], atol=1e-6)


def test_data_that_were_moved(place, means, tmp_path, capsys):
    here, moved = place / "images.npz", tmp_path / "moved.npz"
    here.rename(moved)
    try:
        with pytest.raises(SystemExit, match="2"):
            encode(place, tmp_path / "a.csv")
        error = capsys.readouterr().err
        assert "there is no such file. If the data of the run lies elsewhere now, add --data arrays:PLACE" in error
        assert error.count("\n") == 1
        _, codes = encode(place, tmp_path / "a.csv", "--data", f"arrays:{moved}")
        np.testing.assert_allclose(codes, means, atol=1e-6)
        main(["decode", str(place / "run"), str(tmp_path / "a.csv"), "--out", str(tmp_path / "x.npy")])  # needs no data
        _, codes = encode(place, tmp_path / "a.csv", place / "pictures" / "03.png")
        np.testing.assert_allclose(codes, means[[3]], atol=1e-6)
    finally:
        moved.rename(here)


@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_codes_of_a_file_are_decoded(ending, place, run, means, tmp_path):
    encode(place, tmp_path / f"codes.{ending}")
    main(["decode", str(place / "run"), str(tmp_path / f"codes.{ending}"), "--out", str(tmp_path / "new" / "x.npz")])
    with np.load(tmp_path / "new" / "x.npz") as file:
        np.testing.assert_allclose(file["examples"], run.decoder(means), atol=1e-6)
        assert [*map(int, file["ids"])] == [*range(24)]


def test_columns_in_another_order_give_the_same_examples(place, run, tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("note,z2,z0,z1\na,3,1,2\nb,6,4,5\n")
    expected = run.decoder(np.array([[1.0, 2, 3], [4, 5, 6]]))
    for ending in ("npy", "csv"):
        main(["decode", str(place / "run"), str(path), "--out", str(tmp_path / f"x.{ending}")])
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-6)
    columns = read_columns(tmp_path / "x.csv", "x")
    assert list(columns)[:3] == ["id", "x0_0_0", "x0_1_0"]
    pixels = np.stack([column for name, column in columns.items() if name != "id"], axis=1)
    np.testing.assert_allclose(pixels, expected.reshape(2, -1), atol=1e-6)


def test_a_folder_of_decoded_pictures(place, run, means, tmp_path):
    encode(place, tmp_path / "codes.csv", place / "pictures" / "05.png")
    main(["decode", str(place / "run"), str(tmp_path / "codes.csv"), "--out", str(tmp_path / "folder")])
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["05.png"]
    levels = np.asarray(Image.open(tmp_path / "folder" / "05.png"), np.float32) / 255
    np.testing.assert_allclose(levels, run.decoder(means[[5]])[0, ..., 0], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "RUN", "--out", "codes.txt"], "--out must end in .csv, .tsv, .parquet, .feather, .npy, .npz"),
        (["encode", "RUN", "--out", "FOLDER.csv"], "is a folder"),
        (["encode", "RUN", "--out", "codes.csv", "--limit", "0"], "--limit must be at least 1, got 0"),
        (["encode", "RUN", "arrays:nowhere.npy", "--out", "codes.csv"], "nowhere.npy: there is no such file"),
        (["encode", "RUN", "nowhere.png", "--out", "codes.csv"], "nowhere.png: there is no such picture"),
        (["encode", "RUN", "scenes", "--out", "codes.csv"], "unknown data 'scenes': did you mean 'scene'?"),
        (["encode", "RUN", "digits", "--out", "codes.csv"], "digits has images of 8x8x1, and the run was trained on"),
        (["encode", "RUN", "segments", "--out", "codes.csv"], "segments has vectors of 5 numbers"),
        (["encode", "RUN", "digits", "--data", "digits", "--out", "codes.csv"], "leave it out to encode other data"),
        (["encode", "NOWHERE", "--out", "codes.csv"], "NOWHERE"),
        (["decode", "RUN", "nowhere.csv", "--out", "x.npz"], "nowhere.csv: there is no such file"),
        (["decode", "RUN", "z0,z2\n1,2", "--out", "x.npz"], "there is no column z1; there are z0, z2"),
        (["decode", "RUN", "z0,z1,z2\n1,a,2", "--out", "x.npz"], "the column 'z1' must hold finite numbers"),
        (["decode", "RUN", "z0,z1,z2,z3\n1,2,3,4", "--out", "x.npz"], "there is a column z3: these are codes of"),
        (["decode", "RUN", "z0,z1,z2\n1,2,3", "--out", "x.h5ad"], "--out must end in .csv, .tsv, .parquet, .feather"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_one_line(arguments, message, place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER.csv").mkdir()
    words = [str(place / "run") if word == "RUN" else word for word in arguments]
    for number, word in enumerate(words):
        if "\n" in word:
            (tmp_path / "given.csv").write_text(word + "\n")
            words[number] = "given.csv"
    with pytest.raises(SystemExit) as stop:
        main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"FOLDER.csv", "given.csv"}


@pytest.mark.process
def test_methods_without_codes_or_without_a_decoder(tmp_path, capsys):
    settings = ["--batch-size", "4", "--steps", "1", "--no-score", "--image-size", "16"]
    main(["train", "mcr2", "--data", "digits", *settings, "--run", str(tmp_path / "mcr2")])
    main(["encode", str(tmp_path / "mcr2"), "--limit", "3", "--out", str(tmp_path / "codes.csv")])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["decode", str(tmp_path / "mcr2"), str(tmp_path / "codes.csv"), "--out", str(tmp_path / "x.npz")])
    assert "the codes of mcr2 alone make no examples" in capsys.readouterr().err


@pytest.mark.process
def test_an_encoder_that_sees_a_factor(tmp_path, capsys):
    settings = ["--latents", "2", "--likelihood", "gaussian", *TRAIN]
    main(["train", "ivae", "--data", "segments", *settings, "--run", str(tmp_path / "run")])
    out = tmp_path / "codes.csv"
    main(["encode", str(tmp_path / "run"), "--limit", "50", "--out", str(out)])
    own = read_columns(out, "z")
    assert list(own) == ["id", "z0", "z1", "sd0", "sd1", "segment"]
    main(["encode", str(tmp_path / "run"), "segments", "--limit", "50", "--out", str(out)])
    np.testing.assert_allclose(read_columns(out, "z")["z1"], own["z1"], atol=1e-6)
    main(["decode", str(tmp_path / "run"), str(out), "--out", str(tmp_path / "x.npy")])
    assert np.load(tmp_path / "x.npy").shape == (50, 5)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["encode", str(tmp_path / "run"), "bars", "--out", str(out)])
    assert "the auxiliary variable has 8 values in bars and 40 in the data of the run" in capsys.readouterr().err


def test_a_baseline_encodes_and_decodes(place, tmp_path):
    config = BaselineConfig("pca", data=f"arrays:{place / 'images.npz'}", latents=4)
    open_run(tmp_path / "pca", config, resume=False)
    main(["encode", str(tmp_path / "pca"), "--out", str(tmp_path / "codes.npz")])
    main(["decode", str(tmp_path / "pca"), str(tmp_path / "codes.npz"), "--out", str(tmp_path / "x.npy")])
    rebuilt, images = np.load(tmp_path / "x.npy"), IMAGES / 255
    assert rebuilt.shape == images.shape
    assert ((rebuilt - images) ** 2).mean() < 0.9 * images.var()


def test_grey_pictures_are_encoded_by_a_run_of_colours(run):
    grey = from_arrays(IMAGES[:3])
    colour = from_arrays(np.repeat(IMAGES[:3], 3, axis=-1))
    seen = []

    def check(batch):
        seen.append(np.asarray(batch["x"]))
        return run.encode_batch({"x": batch["x"][..., :1]})

    class Colourful:
        source, method, state, config = colour, run.method, run.state, run.config
        encode_batch, check_examples = staticmethod(check), staticmethod(lambda examples: None)

    codes = encode_all(Colourful, grey, chunk=3)
    np.testing.assert_allclose(seen[0], np.repeat(IMAGES[:3], 3, axis=-1) / 255, atol=1e-6)
    np.testing.assert_allclose(codes.means, np.asarray(run.encode(IMAGES[:3] / np.float32(255)).mean), atol=1e-6)
    with pytest.raises(ValueError, match=re.escape("arrays has images of 16x16x3, and the run was trained on")):
        encode_all(run, colour)


def test_values_that_the_run_was_not_trained_on(run):
    real = from_arrays(np.full((3, 16, 16, 1), 2.0, np.float32), real=True)
    with pytest.raises(ValueError, match=re.escape("images must be in [0, 1], got 2 to 2")):
        encode_all(run, real)


@pytest.mark.parametrize("command", ["encode", "decode", "export", "push", "report", "explore"])
def test_the_help_says_which_checkpoint_is_best(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    told = " ".join(re.sub(r"\W+", " ", capsys.readouterr().out).split())
    assert "best lowest validation loss or without validation lowest mean loss over the logging interval" in told


def test_the_help_says_what_is_validated_and_scored(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "vae", "--help"])
    told = " ".join(re.sub(r"[^\w,-]+", " ", capsys.readouterr().out).split())
    assert "on the examples of --validation, of which at most 2,000 are read" in told
    assert told.count("unless a command has --checkpoint best") == 2


def test_origins_follow_the_examples():
    ids = [f"e{row}" for row in range(24)]
    table = from_arrays(IMAGES, FACTORS, ids=ids)
    rows = origin_of(table).rows
    assert [ids[row] for row in rows] == list(table.ids)
    np.testing.assert_array_equal(np.asarray(table.at(jnp.arange(24))["factors"]), FACTORS[rows])
    some = origin_of(Subset(table, np.array([3, 1])))
    assert some.ids == [table.ids[3], table.ids[1]]
    assert some.rows.tolist() == [rows[3], rows[1]]
    assert origin_of(from_arrays(IMAGES)).rows is None
    assert origin_of(Subset(from_arrays(IMAGES), np.array([3, 1]))).rows.tolist() == [3, 1]
    assert hash(jax.tree.structure(table)) == hash(jax.tree.structure(table))
    assert Origin(ids, None) != Origin(ids, None)
    with pytest.raises(ValueError, match="24 examples but 2 ids"):
        from_arrays(IMAGES, ids=["a", "b"])


def test_a_source_of_its_own_may_have_ids(run):
    @jax.tree_util.register_static
    class Named(Wrapper):
        source = from_arrays(IMAGES[:3])
        ids = ("x", "y", "z")

    codes = encode_all(run, Named())
    assert codes.ids.tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(codes.means, encode_all(run, Named.source).means)
