"""Models in files of other programs: they compute what the run computes, and what cannot be exported is named."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae.cli.main import main
from jaxvae.method import Nets
from jaxvae.methods import METHODS, BetaVAE, beta_vae
from jaxvae.methods.iwae import IWAE, iwae
from jaxvae.networks import autoencoder
from jaxvae.networks.layers import double, halve, in_parts
from jaxvae.runs import load_run
from jaxvae.runs.export import (
    METADATA,
    NotExported,
    _compare,
    _run_stablehlo,
    _stablehlo,
    examples_for,
    export,
    parts_of,
)
from tests.explorer.explored import small_run, untrained
from tests.methods.method_table import SOURCE, make

pytestmark = pytest.mark.process

pytest.importorskip("flatbuffers", reason="needs pip install flatbuffers")
TINY = ["--data", "sprites", "--image-size", "16", "--batch-size", "8", "--steps", "2", "--no-score"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    main(["train", "beta-vae", *TINY, "--latents", "3", "--run", str(folder)])
    return folder


def exported(capsys, *arguments):
    main(["export", *map(str, arguments)])
    return capsys.readouterr().out


def test_plain_jax_runs_the_stablehlo_for_any_batch(folder, capsys):
    assert exported(capsys, folder).startswith("exported and compared with the run: ")
    run = load_run(folder)
    read = {
        name: jax.export.deserialize(bytearray((folder / "export" / f"{name}.stablehlo").read_bytes()))
        for name in ("encoder", "decoder")
    }
    assert read["encoder"].platforms == ("cpu", "cuda", "tpu")
    for count in (1, 7):
        x = np.random.default_rng(count).random((count, 16, 16, 1), np.float32)
        mean, logvar = read["encoder"].call(x)
        np.testing.assert_allclose(mean, run.encode(x).mean, atol=1e-5)
        np.testing.assert_allclose(logvar, run.encode(x).logvar, atol=1e-5)
        np.testing.assert_allclose(read["decoder"].call(mean)[0], run.decoder(mean), atol=1e-5)
    about = json.loads((folder / "export" / "export.json").read_text())
    assert about["parts"]["encoder"] == {"inputs": {"x": ["batch", 16, 16, 1]}, "outputs": ["mean", "logvar"]}


def test_safetensors_are_a_run_again(folder, capsys, tmp_path):
    pytest.importorskip("safetensors", reason="needs pip install safetensors")
    exported(capsys, folder, "--format", "safetensors", "--out", tmp_path)
    run, again = load_run(folder), jaxvae.load(tmp_path / "model.safetensors")
    assert (again.method.name, again.config, int(again.state.step)) == ("beta-vae", run.config, 2)
    assert jax.tree.structure(again.state.params) == jax.tree.structure(run.state.params)
    jax.tree.map(np.testing.assert_array_equal, again.state.params, run.state.params)
    x = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    np.testing.assert_array_equal(again.encode(x).mean, run.encode(x).mean)
    np.testing.assert_array_equal(again.decoder(run.encode(x).mean), run.decoder(run.encode(x).mean))
    with pytest.raises(ValueError, match="holds no examples"):
        again.source.at(jnp.zeros(1, jnp.int32))
    about = json.loads((tmp_path / "config.json").read_text())
    assert about["config"] == run.config.to_json()
    assert jaxvae.load(str(tmp_path)).config == run.config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content[:50], "it is no safetensors file that jaxvae export wrote"),
        (lambda content: b"\xff" * 16 + content, "it is no safetensors file that jaxvae export wrote"),
        (lambda content: content.replace(b"beta-vae", b"beta-vaf"), "beta-vaf"),
        (lambda content: content.replace(b'"encoder.', b'"encodes.'), "does not fit its settings"),
        (lambda content: content.replace(b'latents\\": 3', b'latents\\": 4'), "does not fit its settings"),
        (lambda content: content.replace(b'\\"data\\": {\\"name', b'\\"data\\": {\\"eman'), "does not describe"),
    ],
)
def test_other_files_are_refused_in_a_line(folder, capsys, tmp_path, change, told):
    pytest.importorskip("safetensors", reason="needs pip install safetensors")
    exported(capsys, folder, "--format", "safetensors", "--out", tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "other.safetensors").write_bytes(change(content))
    with pytest.raises(ValueError, match=told) as error:
        jaxvae.load(tmp_path / "other.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["method", "network"])
def test_a_file_does_not_name_what_is_called(folder, capsys, tmp_path, place):
    pytest.importorskip("safetensors", reason="needs pip install safetensors")
    from safetensors.numpy import load_file, save_file

    exported(capsys, folder, "--format", "safetensors", "--out", tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    changed = about["config"] if place == "method" else about["config"]["networks"]
    changed[place] = "nowhere:NAME"
    other = tmp_path / "other.safetensors"
    save_file(load_file(tmp_path / "model.safetensors"), other, {METADATA: json.dumps(about)})
    with pytest.raises(ValueError, match="names nowhere:NAME, which would be imported and called"):
        jaxvae.load(other)
    with pytest.raises(ValueError, match="nowhere:NAME cannot be imported"):
        jaxvae.load(other, trust=True)


def test_the_settings_of_a_run_are_never_replaced(folder, capsys):
    before = (folder / "config.json").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["export", str(folder), "--format", "safetensors", "--out", str(folder)])
    assert stop.value.code == 2
    assert "is the folder of a run, whose config.json would be replaced: name another folder" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before


def test_a_difference_leaves_earlier_files(tmp_path, monkeypatch):
    run = small_run()
    (tmp_path / "encoder.stablehlo").write_bytes(b"earlier")
    monkeypatch.setattr("jaxvae.runs.export.CLOSE", {"float32": -1.0})
    with pytest.raises(NotExported, match="differs from the run"):
        export(run, "stablehlo", tmp_path)
    assert (tmp_path / "encoder.stablehlo").read_bytes() == b"earlier"


def test_a_model_made_in_python_is_exported_and_says_how_to_load_it(tmp_path):
    pytest.importorskip("safetensors", reason="needs pip install safetensors")
    export(small_run(), "safetensors", tmp_path)
    with pytest.raises(ValueError, match="was trained in Python: build the method again"):
        jaxvae.load(tmp_path)


@pytest.mark.parametrize("network", ["conv", "burgess"])
def test_convolutions_take_a_symbolic_batch(network):
    shape = (64, 64, 1) if network == "conv" else (32, 32, 1)
    networks = autoencoder(network, shape, latent_dim=2)
    params = {name: net.init(jax.random.key(0)) for name, net in networks.items()}
    net = Nets(networks, params)
    (batch,) = jax.export.symbolic_shape("batch")
    for name, of_one in (("encoder", shape), ("decoder", (2,))):
        apply = jax.jit(getattr(net, name))
        made = jax.export.export(apply)(jax.ShapeDtypeStruct((batch, *of_one), jnp.float32))
        x = np.random.default_rng(0).random((3, *of_one), np.float32)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), made.call(x), apply(x))


def test_parts_of_a_batch_of_a_known_size_are_as_before():
    """The forms for CPUs, whose results must not change, are used for every batch of a known size."""
    x, kernel = jnp.ones((80, 8, 8, 3)), jnp.ones((4, 4, 3, 2))
    assert str(jax.make_jaxpr(lambda x: in_parts(lambda part: part + 1, x))(x)).count("slice") == 4
    assert "custom_jvp" in str(jax.make_jaxpr(halve)(x, kernel))
    assert "custom_jvp" in str(jax.make_jaxpr(double)(x, kernel))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("va-gan", "va-gan learns no code, so there is no encoder; the codes of va-gan alone make no examples"),
        ("mcr2", "the codes of mcr2 alone make no examples, so there is no decoder"),
    ],
)
def test_what_is_not_there_is_named(kind, told, tmp_path):
    run = untrained(make(kind), SOURCE)
    if kind == "va-gan":
        with pytest.raises(ValueError, match=told):
            export(run, "stablehlo", tmp_path)
    else:
        assert export(run, "stablehlo", tmp_path)[1] == [told]


def test_a_difference_is_an_error():
    part = parts_of(small_run())[0][1]
    expected = _run_stablehlo(_stablehlo(part), part)
    _compare(part, expected, 1e-5)
    with pytest.raises(ValueError, match="the exported decoder differs from the run: x by"):
        _compare(part, [expected[0] + 1e-4], 1e-5)
    with pytest.raises(ValueError, match="the exported decoder differs from the run: x by inf"):
        _compare(part, [expected[0][:, 0]], 1e-5)


@pytest.mark.parametrize("kind", ["stablehlo", "safetensors", "onnx"])
def test_the_command_says_what_to_install(kind, monkeypatch, capsys, folder):
    monkeypatch.setattr("jaxvae.runs.export.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(folder), "--format", kind])
    assert stop.value.code == 2
    assert f"--format {kind} needs " in capsys.readouterr().err


@pytest.mark.process
def test_a_baseline_is_refused(tmp_path, capsys):
    main(["fit", "pca", "--data", "digits", "--examples", "100", "--run", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "pca is a fitted estimator" in capsys.readouterr().err


CODED = [name for name in METHODS if name not in ("va-gan", "equivariant-rendering")]
OFTEN = ("vae", "factor-vae", "qlae", "tripod", "ivae", "oi-vae", "drvi", "alae", "icam", "mcr2")
"""Methods that are tried in the second layer: of each kind of code one. The others are slow cases."""
RARELY = tuple(name for name in CODED if name not in OFTEN)
ALONE = """
import sys
sys.modules["jaxvae"] = None
import jax, numpy as np
for path in sys.argv[1:]:
    with np.load(path + ".npz") as file:
        inputs = [file[f"in{k}"] for k in range(len(file.files))]
    outputs = jax.export.deserialize(bytearray(open(path, "rb").read())).call(*inputs)
    np.savez(path + ".out.npz", *outputs)
"""


def layer_of(name):
    return name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("names", [OFTEN, pytest.param(RARELY, marks=pytest.mark.slow)], ids=["often", "rarely"])
def test_every_encoder_runs_without_jaxvae(tmp_path, names):
    """Each method with a code, in a process that cannot import jaxvae."""
    expected = {}
    for name in names:
        run = untrained(make(name), SOURCE)
        for part in parts_of(run)[0]:
            path = tmp_path / f"{name}-{part.name}"
            path.write_bytes(_stablehlo(part))
            inputs = examples_for(part)
            np.savez(tmp_path / f"{path.name}.npz", **{f"in{k}": array for k, array in enumerate(inputs)})
            expected[path] = part.apply(*map(jnp.asarray, inputs))
    assert sum(path.name.endswith("encoder") for path in expected) == len(names)
    subprocess.run([sys.executable, "-c", ALONE, *map(str, expected)], check=True)
    for path, outputs in expected.items():
        with np.load(f"{path}.out.npz") as file:
            for k, output in enumerate(outputs):
                scale = max(1, float(jnp.abs(output).max()))
                np.testing.assert_allclose(file[f"arr_{k}"], output, atol=1e-5 * scale, rtol=0, err_msg=path.name)


@pytest.mark.parametrize("name", map(layer_of, CODED))
def test_onnxruntime_runs_every_encoder(name, tmp_path):
    pytest.importorskip("jax2onnx", reason="needs pip install 'jaxvae[onnx]' and pip install --no-deps jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    run = untrained(make(name), SOURCE)
    export(run, "onnx", tmp_path)
    for part in parts_of(run)[0]:
        session = onnxruntime.InferenceSession(tmp_path / f"{part.name}.onnx", providers=["CPUExecutionProvider"])
        assert [given.name for given in session.get_inputs()] == list(part.inputs)
        one = [array[:2] for array in examples_for(part)]  # another batch size than the comparison's
        outputs = session.run(list(part.outputs), dict(zip(part.inputs, one, strict=True)))
        for output, expected in zip(outputs, part.apply(*map(jnp.asarray, one)), strict=True):
            scale = max(1, float(jnp.abs(expected).max()))
            np.testing.assert_allclose(output, expected, atol=1e-5 * scale, rtol=0, err_msg=part.name)


def test_iwae_and_ivae_have_their_inputs():
    assert list(parts_of(untrained(make("ivae"), SOURCE))[0][0].inputs) == ["x", "aux"]
    networks = autoencoder("mlp-small", (16, 16, 1), latent_dim=2)
    assert list(parts_of(untrained(iwae(networks, hyperparameters=IWAE()), SOURCE))[0][0].inputs) == ["x"]
    assert list(parts_of(untrained(beta_vae(networks, hyperparameters=BetaVAE()), SOURCE))[0][1].inputs) == ["code"]
