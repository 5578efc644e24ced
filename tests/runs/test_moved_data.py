"""A run whose data lies elsewhere now, or nowhere: known by its content, scored and resumed from its new place."""

import json
import shutil
import warnings

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.data import Epochs, Sprites, Streamed, digits, from_arrays, open_data
from jaxvae.data.fingerprint import fingerprint
from jaxvae.runs.absent import NoExamples, absent_source
from jaxvae.runs.build import build, build_without_data
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import load_run
from jaxvae.runs.score import represent
from jaxvae.training import make_train_step, train
from jaxvae.training.run_folder import OtherCores, OtherData, RunFolderError, note_trained, read_trained
from jaxvae.training.steps import described, described_data
from tests.faults.tiny import same_bits

pytestmark = pytest.mark.process

TRAINING = {"batch_size": 4, "log_every": 2}
SETTINGS = {"latents": 3, "steps": 2, "network": "mlp-small", **TRAINING}


def write_data(path, changed=0):
    path.parent.mkdir(exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8)
    images[3, 2, 1] += np.uint8(changed)
    np.savez(path, images=images, factors=np.stack([np.arange(20) % 2, np.arange(20) % 5], axis=1))
    return f"arrays:{path}"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run, the place of its data, which is gone, the new one, and one of other data."""
    place = tmp_path_factory.mktemp("moved")
    old, new, other = (write_data(place / name / "d.npz", name == "other") for name in ("old", "new", "other"))
    config = default_config("vae").with_flags(data=old, **SETTINGS)
    open_run(place / "run", config, resume=False)
    source, method = build(config)
    train(method, source, steps=2, folder=place / "run", **TRAINING)
    (place / "old").rename(place / "gone")
    return place / "run", old, new, other


def test_codes_need_no_data(moved):
    folder, _, new, _ = moved
    images = np.random.default_rng(1).random((5, 16, 16, 1), np.float32)
    there = load_run(folder, data=new)
    for run in (load_run(folder), load_run(folder, data=new, needs_data=False)):
        codes = run.encode(images).mean
        np.testing.assert_array_equal(codes, there.encode(images).mean)
        np.testing.assert_array_equal(run.decoder(codes), there.decoder(codes))
        assert "20 images of 16x16x1" in repr(run)


def test_exporting_needs_no_data(moved, tmp_path):
    folder = moved[0]
    main(["export", str(folder), "--format", "safetensors", "--out", str(tmp_path / "weights")])
    params = jax.tree.leaves(load_run(folder).state.params)
    file = next((tmp_path / "weights").glob("*.safetensors"))
    assert file.stat().st_size > sum(4 * leaf.size for leaf in params)


def test_scores_say_where_to_look_and_do_not_depend_on_the_place(moved, capsys):
    folder, old, new, other = moved
    with pytest.raises(NoExamples, match=r"no such file. If the data .* lies elsewhere now, add --data arrays:PLACE"):
        represent(load_run(folder), 10)
    for word in ("evaluate", "report"):
        with pytest.raises(SystemExit):
            main([word, str(folder)])
        assert "add --data arrays:PLACE" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error", OtherData)
        codes = represent(load_run(folder, data=new), 10)
    with pytest.warns(OtherData, match="fingerprint"):
        assert (represent(load_run(folder, data=other), 10).factors == codes.factors).all()
    with pytest.raises(ValueError, match="no such file"):
        load_run(folder, data=old)
    main(["evaluate", str(folder), "--data", new, "--metrics", "mig", "--num-samples", "20"])
    assert json.loads((folder / "scores.json").read_text())["asked"] == ["mig"]


def test_a_run_resumes_from_the_new_place_to_the_same_bits(moved, tmp_path, capsys):
    folder, old, new, other = shutil.copytree(moved[0], tmp_path / "run"), *moved[1:]
    words = ["train", "--run", str(folder), "--resume", "--steps", "4", "--no-score"]
    for flags, told in (([], "add --data arrays:PLACE"), (["--data", other], f"was {old!r} and is now {other!r}")):
        with pytest.raises(SystemExit):
            main([*words, *flags])
        assert told in capsys.readouterr().err
    main([*words, "--data", new])
    assert json.loads((folder / "config.json").read_text())["source"]["data"] == new
    source, method = build(default_config("vae").with_flags(data=new, **SETTINGS))
    same_bits(load_run(folder).state, train(method, source, steps=4, **TRAINING))
    write_data(folder.parent / "d.npz", 1)
    with pytest.raises(RunFolderError, match="data.fingerprint was"):
        train(method, open_data(f"arrays:{folder.parent / 'd.npz'}"), steps=6, folder=folder, **TRAINING)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("ivae", {}),
        ("semi-supervised-vae", {"supervision": "mutual-information", "labels": 10}),
        ("group-vae", {}),
        ("ada-gvae", {}),
        ("mcr2", {"label_noise": 0.5}),
        ("mcr2", {"copies": 2}),
        ("icam", {}),
        ("va-gan", {}),
    ],
)
def test_networks_are_those_of_the_data(tmp_path, name, flags):
    data = "squares" if name in ("icam", "va-gan") else "digits"
    config = default_config(name).with_flags(data=data, image_size=32, batch_size=4, **flags)
    source, method = build(config)
    note_trained(tmp_path, described(method, described_data(source), 4, 0))
    without = build_without_data(config, absent_source(tmp_path, "it is not here")).method
    assert described(without, {}, 4, 0) == described(method, {}, 4, 0)
    key = jax.random.key(0)
    found, wanted = (jax.eval_shape(make_train_step(each, dataset_size=9)[0], key) for each in (without, method))
    assert jax.tree.map(lambda leaf: leaf.shape, found) == jax.tree.map(lambda leaf: leaf.shape, wanted)


def test_a_fingerprint_is_of_the_content(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    factors = np.arange(40)[:, None] % 3
    one = from_arrays(images, factors)
    found = fingerprint(one)
    assert len(found) == 16
    for same in (from_arrays(images, factors, name="other"), Streamed(one), Epochs(one), Epochs(Streamed(one))):
        assert fingerprint(same) == found
    changed = images.copy()
    changed[39, 3, 3] ^= 1
    others = [from_arrays(changed, factors), from_arrays(images, 1 - factors), from_arrays(images)]
    assert len({found, *map(fingerprint, others)}) == 4
    assert fingerprint(Sprites(16)) is None
    assert fingerprint(digits()) == fingerprint(digits())
    monkeypatch.setattr("jaxvae.data.fingerprint.LIMIT", 64)  # four images, the first and the last among them
    assert fingerprint(from_arrays(changed)) != fingerprint(from_arrays(images)) != found


def test_runs_of_older_versions_are_known_by_the_name_of_their_data(moved, tmp_path):
    folder, _, new, _ = shutil.copytree(moved[0], tmp_path / "run"), *moved[1:]
    noted = read_trained(folder)
    assert noted["data"]["factors"] == {"factor0": 2, "factor1": 5}
    older = {**noted, "data": {name: noted["data"][name] for name in ("name", "images", "shape")}}
    del older["cores"]
    (folder / "trained.json").write_text(json.dumps(older))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note_trained(folder, {name: value for name, value in noted.items() if name != "cores"}, 3)
        load_run(folder, data=new)
    with pytest.raises(ValueError, match="add --data arrays:PLACE"):
        load_run(folder)
    with pytest.raises(RunFolderError, match="does not say enough"):
        load_run(folder, needs_data=False)


def test_another_number_of_cores_is_said(moved, tmp_path):
    folder = shutil.copytree(moved[0], tmp_path / "run")
    noted = read_trained(folder)
    given = {name: value for name, value in noted.items() if name != "cores"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note_trained(folder, given, noted["cores"])
    for cores, told in ((999, "999 cores"), (1 if noted["cores"] > 1 else None, ".*")):
        with pytest.warns(OtherCores, match=f"continues on {told}: .* up to rounding"):
            note_trained(folder, given, cores)
    assert read_trained(folder) == noted
