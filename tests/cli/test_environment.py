"""What surrounds the command: Ctrl-C at any moment, no home, no such device, JIT switched off, another backend."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.signals import asked_to_stop, interruptible
from jaxvae.cli.terminal import use_compilation_cache

TINY = ["--data", "sprites", "--image-size", "16", "--batch-size", "4", "--network", "mlp-small"]


class Dropped:
    """Ctrl-C while Python cannot raise it, as in a callback of the garbage collector."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def drop_and_wait():
    thing = Dropped()
    del thing
    time.sleep(60)


def test_a_keyboard_interrupt_that_python_drops_is_raised_again():
    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with interruptible() as interrupted:
        assert not interrupted()
        with pytest.raises(KeyboardInterrupt):
            drop_and_wait()
        assert interrupted()
        with asked_to_stop() as asked, pytest.raises(KeyboardInterrupt):
            asked()
    assert signal.getsignal(signal.SIGINT) is before
    assert sys.unraisablehook is hook
    with interruptible() as interrupted, asked_to_stop() as asked:
        assert not interrupted()
        assert not asked()


def test_sigint_that_is_ignored_stays_so():
    """As in a job of a shell's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_command_that_was_interrupted_ends_with_1(capsys, monkeypatch):
    monkeypatch.setitem(main.__globals__["COMMANDS"], "list", lambda arguments: Dropped() and None)
    with pytest.raises(SystemExit) as stop:
        main(["list"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "jaxvae: interrupted\n"


def test_a_device_that_is_not_there_is_said_in_a_line(capsys, monkeypatch):
    def missing(*backend):
        raise RuntimeError("Unable to initialize backend 'gpu'")

    monkeypatch.setattr(jax, "devices", missing)
    monkeypatch.setitem(main.__globals__["COMMANDS"], "train", lambda arguments: jax.devices())
    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 1
    assert "JAX finds no device for JAX_PLATFORMS=" in capsys.readouterr().err


def test_other_errors_are_not_taken_for_a_missing_device(monkeypatch):
    def wrong(arguments):
        raise RuntimeError("a fault of ours")

    monkeypatch.setitem(main.__globals__["COMMANDS"], "train", wrong)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["train"])


def test_jit_that_is_switched_off_is_said_in_a_line(capsys):
    with jax.disable_jit(), pytest.raises(SystemExit) as stop:
        main(["train", *TINY])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "jaxvae: JAX_DISABLE_JIT is set, and jaxvae runs compiled programs: unset it\n"


@pytest.mark.parametrize("home", [RuntimeError("Could not determine home directory."), "file"])
def test_without_a_home_programs_are_not_kept(monkeypatch, tmp_path, home):
    (tmp_path / "file").touch()

    def find():
        if isinstance(home, Exception):
            raise home
        return tmp_path / home

    monkeypatch.setattr(Path, "home", find)
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    before = jax.config.jax_compilation_cache_dir
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.process
@pytest.mark.parametrize("platform", ["cuda", "tup"])
def test_no_such_device_ends_the_command_with_its_line(tmp_path, platform):
    ended = subprocess.run(
        [sys.executable, "-m", "jaxvae", "train", *TINY, "--steps", "1", "--run", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": platform},
    )
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"jaxvae: JAX finds no device for JAX_PLATFORMS={platform}")
    assert "Traceback" not in ended.stderr


NAMELESS = """
import pwd, sys

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
from jaxvae.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.process
def test_a_user_without_a_name_or_a_home(tmp_path):
    """As in a container that is given any uid: there is no passwd entry, and HOME is not set."""
    lost = ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "USER", "LOGNAME")
    words = ["train", *TINY, "--steps", "2", "--no-score", "--run", str(tmp_path / "run")]
    ended = subprocess.run(
        [sys.executable, "-c", NAMELESS, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in lost},
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.process
@pytest.mark.parametrize("wait", [0, 1])
def test_ctrl_c_ends_the_command_with_its_line(tmp_path, wait):
    """JAX's threads crash some interpreters at their end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxvae", "train", *TINY, "--steps", "1000000", "--run", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process.stdout.readline()
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.startswith("jaxvae: interrupted; `jaxvae train --run ")
    assert errors.count("\n") == 1


@pytest.mark.process
def test_one_example_and_a_backend_of_a_notebook(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", images=images, factors=np.zeros((1, 2)))
    words = ["fit", "pca", "--data", f"arrays:{tmp_path / 'one.npz'}", "--latents", "1", "--run", str(tmp_path / "run")]
    ended = subprocess.run(
        [sys.executable, "-m", "jaxvae", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "module://no_such.backend"},
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "report" / "index.html").exists()
