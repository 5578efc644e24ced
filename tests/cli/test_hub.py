"""Runs on a hub: what is pushed is what is pulled, the card tells what the run is, and every refusal is a line."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from fake_hub import TOKEN, serving

import jaxvae
from jaxvae.cli.main import main
from jaxvae.runs import load_run
from jaxvae.runs.export import METADATA

pytestmark = pytest.mark.process
constants = pytest.importorskip("huggingface_hub.constants", reason="needs pip install huggingface_hub")
yaml = pytest.importorskip("yaml", reason="needs pip install pyyaml")
pytest.importorskip("safetensors", reason="needs pip install safetensors")
TINY = ["--data", "sprites", "--image-size", "16", "--batch-size", "8", "--steps", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "run"
    main(["train", "beta-vae", *TINY, "--latents", "3", "--no-score", "--run", str(folder)])
    main(["evaluate", str(folder), "--metrics", "mig", "sap", "--num-samples", "300"])
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, which is the one that huggingface_hub talks to."""
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # weights go the way of Git LFS
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        yield hub


def refused(capsys, *words):
    """The exit code and the line of a command that is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return stop.value.code, lines[0]


def test_what_is_pushed_is_what_is_pulled(folder, hub, tmp_path, capsys):
    main(["push", str(folder), "me/model"])
    assert f"pushed: {hub.address}/me/model" in capsys.readouterr().out
    files = hub.repositories["me/model"]
    assert {"README.md", "config.json", "model.safetensors"} <= {*files}
    assert (hub.commits, hub.private["me/model"]) == (1, False)
    assert "PUT /lfs" in hub.asked  # as the hub asks for weights
    pulled = tmp_path / "pulled"
    main(["pull", "me/model", "--run", str(pulled)])
    assert f"pulled beta-vae of sprites, 737,280 images of 16x16x1, step 2: {pulled}" in capsys.readouterr().out
    run, x = load_run(folder), np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    for again in (load_run(pulled), jaxvae.load(pulled), jaxvae.load("hf://me/model")):
        jax.tree.map(np.testing.assert_array_equal, again.state.params, run.state.params)
        np.testing.assert_array_equal(again.encode(x).mean, run.encode(x).mean)
        assert (again.config, int(again.state.step)) == (run.config, 2)
    assert (pulled / "README.md").read_bytes() == files["README.md"]
    assert (pulled / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_a_second_push_replaces_the_files(folder, hub, tmp_path):
    main(["push", str(folder), "me/model", "--private"])
    first = hub.repositories["me/model"]["README.md"]
    main(["push", str(folder), "me/model", "--license", "apache-2.0"])
    assert (hub.commits, hub.private["me/model"]) == (2, True)
    assert b"license: apache-2.0" in hub.repositories["me/model"]["README.md"] != first
    main(["pull", "me/model", "--run", str(tmp_path / "pulled")])  # with the token of its owner


def test_the_card_tells_scores_data_and_settings(folder, hub):
    main(["push", str(folder), "me/model"])
    text = hub.repositories["me/model"]["README.md"].decode()
    _, header, body = text.split("---\n", 2)
    about, scores = yaml.safe_load(header), json.loads((folder / "scores.json").read_text())
    assert about["library_name"] == "jaxvae"
    assert {"beta-vae", "disentanglement"} <= {*about["tags"]}
    (index,) = about["model-index"]
    metrics = {metric["type"]: metric["value"] for result in index["results"] for metric in result["metrics"]}
    assert metrics == {name: pytest.approx(one["score"], abs=1e-6) for name, one in scores["metrics"].items()}
    assert index["name"] == "model"
    for name, one in scores["metrics"].items():
        low, high = one["interval"]
        assert f"| {name} | {one['score']:.3f} | {low:.3f} to {high:.3f} | " in body.replace("\\", "")
    assert "sprites, 737,280 images of 16x16x1" in body
    assert "orientation (40 values)" in body
    assert '"latents": 3' in body
    assert "jaxvae train beta-vae" in body
    assert 'jaxvae.load("hf://me/model")' in body
    code = body.partition("```python\n")[2].partition("```")[0]
    namespace = {"x": np.zeros((2, 16, 16, 1), np.float32)}
    exec(code, namespace)
    assert namespace["examples"].shape == (2, 16, 16, 1)


def test_a_pulled_run_is_encoded_and_scored_but_not_resumed(folder, hub, tmp_path, capsys):
    main(["push", str(folder), "me/model"])
    pulled = tmp_path / "pulled"
    main(["pull", "me/model", "--run", str(pulled)])
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    main(["encode", str(pulled), f"arrays:{tmp_path / 'images.npz'}", "--out", str(tmp_path / "codes.npz")])
    with np.load(tmp_path / "codes.npz") as file:
        np.testing.assert_allclose(file["means"], load_run(folder).encode(images / np.float32(255)).mean, atol=1e-5)
    code, line = refused(capsys, "evaluate", pulled)
    assert (code, line.endswith("was pulled without its data: say where they are with --data")) == (2, True)
    main(["evaluate", str(pulled), "--metrics", "mig", "--num-samples", "300", "--data", "sprites"])
    one, two = (json.loads((place / "scores.json").read_text()) for place in (folder, pulled))
    assert two["metrics"]["mig"]["score"] == pytest.approx(one["metrics"]["mig"]["score"], abs=1e-6)
    code, line = refused(capsys, "train", "--run", pulled, "--resume")
    assert (code, "cannot be resumed" in line) == (2, True)


@pytest.mark.parametrize("change", ["no user", "no run", "no token", "wrong token", "gone"])
def test_what_cannot_be_pushed_is_said_in_a_line(change, folder, hub, capsys, monkeypatch, tmp_path):
    run, name = folder, "me/model"
    match change:
        case "no user":
            name, expected = "model", (2, "a repository is named USER/NAME, such as me/beta-vae-sprites, got 'model'")
        case "no run":
            run = tmp_path / "none"
            expected = (2, f"there is no run in {run}: config.json is missing")
        case "no token":
            monkeypatch.delenv("HF_TOKEN")
            expected = (2, "push needs a token that may write: set HF_TOKEN, or log in with `hf auth login`")
        case "wrong token":
            monkeypatch.setenv("HF_TOKEN", "hf_wrong")
            expected = (1, "the hub refuses this for me/model: HF_TOKEN must be a token that may do it")
        case "gone":
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
            expected = (1, "http://127.0.0.1:9 fails for me/model: ")
    code, line = refused(capsys, "push", run, name)
    assert (code, line[: len(f"jaxvae: {expected[1]}")]) == (expected[0], f"jaxvae: {expected[1]}")
    assert hub.repositories == {}


@pytest.mark.parametrize("change", ["nowhere", "private", "gated", "revision", "no model", "another", "module", "full"])
def test_what_cannot_be_pulled_is_said_in_a_line(change, folder, hub, capsys, monkeypatch, tmp_path):
    main(["push", str(folder), "me/model"])
    name, words, out, status = "me/model", [], tmp_path / "pulled", 2
    files = hub.repositories["me/model"]
    match change:
        case "nowhere":
            name, told = "me/none", f"there is no repository me/none at {hub.address}, or it is private and needs"
        case "private":
            monkeypatch.delenv("HF_TOKEN")
            hub.private["me/model"] = True
            told = f"there is no repository me/model at {hub.address}, or it is private and needs a token"
        case "gated":
            hub.gated.add("me/model")
            status, told = 1, "me/model is a gated repository: ask its owner for access on its page"
        case "revision":
            words, told = ["--revision", "none"], "me/model has no revision 'none'"
        case "no model":
            del files["model.safetensors"]
            told = "me/model has no file model.safetensors, so it holds no model that jaxvae has pushed"
        case "another":
            files["model.safetensors"] = b"another"
            told = "can't read "
        case "module":
            files["model.safetensors"] = naming_a_module(files["model.safetensors"])
            told = "jaxvae: "
        case "full":
            out = folder
            told = f"{folder} holds a run already"
    code, line = refused(capsys, "pull", name, "--run", out, *words)
    assert (code, line.startswith(f"jaxvae: {told}") or change == "module") == (status, True), line
    if change == "module":
        assert "names nowhere:NAME, which would be imported and called" in line
    assert not (tmp_path / "pulled").exists()


def naming_a_module(content):
    """The file of a run, whose method is that of a module."""
    from safetensors.numpy import load, save

    size = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][METADATA])
    about["config"]["method"] = "nowhere:NAME"
    return save(load(content), {METADATA: json.dumps(about)})


@pytest.mark.parametrize("words", [["push", "RUN", "me/model"], ["pull", "me/model", "--run", "NEW"]])
def test_a_missing_package_is_named(words, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxvae.runs.hub.find_spec", lambda name: None)
    words = [{"RUN": str(folder), "NEW": str(tmp_path / "new")}.get(word, word) for word in words]
    assert refused(capsys, *words) == (
        2,
        "jaxvae: the hub needs huggingface_hub and safetensors: pip install 'jaxvae[hub]'",
    )


def test_a_command_finds_the_endpoint_and_the_token_in_its_environment(folder, tmp_path):
    with serving() as hub:
        more = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        more["HF_HUB_DISABLE_XET"] = "1"
        for words in (["push", folder, "me/model"], ["pull", "me/model", "--run", tmp_path / "pulled"]):
            command = [sys.executable, "-m", "jaxvae", *map(str, words)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more})
            assert (done.returncode, done.stderr) == (0, "")
    assert load_run(tmp_path / "pulled").method.name == "beta-vae"
