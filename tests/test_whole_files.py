"""Files are written whole or not at all, in UTF-8, and inside of their folder."""

import ast
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from jaxvae.files import (
    LeadsOutside,
    NotWritten,
    append_text,
    inside,
    printable,
    read_json,
    replacing,
    write_json,
    write_text,
)


def test_text_is_utf_8_and_keeps_names_that_are_not(tmp_path):
    write_text(tmp_path / "page.html", "β ↑ 中 caf\udce9")
    assert (tmp_path / "page.html").read_bytes() == "β ↑ 中 caf\\udce9".encode()
    write_json(tmp_path / "a.json", {"data": "arrays:caf\udce9.npz"})
    assert read_json(tmp_path / "a.json") == {"data": "arrays:caf\udce9.npz"}
    assert sorted(os.listdir(tmp_path)) == ["a.json", "page.html"]


@pytest.fixture
def small_files():
    """Files of this process may have 1,000 bytes, as under a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_can_not_be_written_leaves_the_file_before(tmp_path, small_files):
    write_text(tmp_path / "index.html", "good")
    with pytest.raises(NotWritten, match=r"can't write .*index.html: File too large. A file that was there before is"):
        write_text(tmp_path / "index.html", "x" * 2000)
    assert (tmp_path / "index.html").read_text() == "good"
    assert os.listdir(tmp_path) == ["index.html"]


def test_an_error_while_writing_leaves_the_file_before(tmp_path):
    write_text(tmp_path / "a", "good")

    def write_half():
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (tmp_path / "a").read_text() == "good"
    assert os.listdir(tmp_path) == ["a"]


def test_links_are_replaced_and_not_followed(tmp_path):
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    run.mkdir()
    for name in ("scores.json", "scores.json.partial"):
        (run / name).symlink_to(victim)
    write_json(run / "scores.json", {"mig": 1})
    assert victim.read_text() == "precious"
    assert not (run / "scores.json").is_symlink()
    assert read_json(run / "scores.json") == {"mig": 1}


def test_folders_and_pipes_are_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("folder", "pipe", "device"):
        with pytest.raises(NotWritten, match=f"{name}: it is a folder or a device"):
            write_text(tmp_path / name, "x")
    assert sorted(os.listdir(tmp_path)) == ["device", "folder", "pipe"]
    with pytest.raises(NotWritten, match="nowhere.*a: No such file or directory"):
        write_text(tmp_path / "nowhere" / "a", "x")


def test_writers_at_once_do_not_meet(tmp_path):
    """The content is that of one of them, whole; with one name for all, files that are being written vanish."""
    path, errors = tmp_path / "study.json", []
    ready = threading.Barrier(4)

    def write(who):
        ready.wait()
        try:
            for _ in range(25):
                write_json(path, {"who": who, "x": [who] * 2000 * (who + 1)})
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[who]) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = read_json(path)
    assert found["x"] == [found["who"]] * 2000 * (found["who"] + 1)
    assert os.listdir(tmp_path) == ["study.json"]


def test_long_names(tmp_path):
    name = "é" * 120  # 240 bytes, of 255 that a name may have
    write_text(tmp_path / name, "x")
    assert os.listdir(tmp_path) == [name]


def test_lines_are_not_appended_through_a_link(tmp_path):
    with append_text(tmp_path / "metrics.jsonl") as file:
        file.write("β\n")
    with append_text(tmp_path / "metrics.jsonl") as file:
        file.write("γ\n")
    assert (tmp_path / "metrics.jsonl").read_bytes() == "β\nγ\n".encode()
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(LeadsOutside, match="link is a symbolic link"):
        append_text(tmp_path / "link")
    assert not (tmp_path / "victim").exists()


def test_folders_that_lead_outside(tmp_path):
    run = tmp_path / "run"
    (run / "kept").mkdir(parents=True)
    (run / "report").symlink_to(tmp_path)
    (run / "checkpoints").symlink_to(run / "kept")
    with pytest.raises(LeadsOutside, match=r"run/report is a symbolic link out of its folder, .*replace the link"):
        inside(run, "report")
    assert inside(run, "checkpoints") == run / "checkpoints"
    assert inside(run, "new") == run / "new"
    (tmp_path / "linked").symlink_to(run)  # a folder that the user names may be a link
    assert inside(tmp_path / "linked", "kept") == tmp_path / "linked" / "kept"


def test_json_that_is_too_large_or_too_deep_or_no_file(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, list(range(100)))
    with pytest.raises(ValueError, match=r"it has [\d,]+ bytes, and at most 50 are read"):
        read_json(path, most=50)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        read_json(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "é"}, ensure_ascii=False).encode())  # as Windows' editor does
    assert read_json(path) == {"a": "é"}
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        read_json(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("size β 中\n\tok", "size β 中\n\tok"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("a\rb\x9b1m\x7f", r"a\x0db\x9b1m\x7f"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text, shown):
    assert printable(text) == shown


@pytest.mark.process
@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}])
def test_any_locale(locale, tmp_path):
    code = (
        "from pathlib import Path; from jaxvae.files import read_json, write_text; "
        "from jaxvae.cli.terminal import print_in_any_encoding, say; "
        r"write_text(Path('a.json'), '[\"\u2191 \xe9\"]'); assert read_json(Path('a.json')) == ['\u2191 \xe9']; "
        r"print_in_any_encoding(); say('Tr\xe4uble \u2191')"
    )
    environment = {**os.environ, **locale, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "a.json").read_bytes() == '["↑ é"]'.encode()
    assert done.stdout == r"Tr\xe4uble \u2191" + "\n"


def calls_that_open_text(tree):
    """Calls of open, read_text and the like that do not name an encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [each.value for each in modes if isinstance(each, ast.Constant)]
        modes = [each for each in modes if isinstance(each, str) and each and set(each) <= set("rwxabt+")]
        plain = isinstance(node.func, ast.Name) or bool(modes)
        opens = name in ("open", "fdopen", "NamedTemporaryFile") and plain and not any("b" in each for each in modes)
        reads = name == "read_text" and not node.args
        writes = name == "write_text" and isinstance(node.func, ast.Attribute) and len(node.args) < 2
        if opens or reads or writes or name == "TextIOWrapper":
            yield node.lineno


def test_text_that_is_opened_without_an_encoding_is_found():
    lines = [
        *("open('a')", "open('a', 'w')", "path.open('a')", "os.fdopen(3, mode='w')", "path.read_text()"),
        *("path.write_text('x')", "io.TextIOWrapper(file)"),
    ]
    fine = [
        *("open('a', 'rb')", "open('a', encoding='utf-8')", "path.read_text('utf-8')", "write_text(path, 'x')"),
        *("os.open(path, 0)", "Image.open(file)"),
    ]
    assert list(calls_that_open_text(ast.parse("\n".join(lines + fine)))) == [*range(1, len(lines) + 1)]


@pytest.mark.parametrize("folder", ["jaxvae", "experiments", "benchmarks"])
def test_every_text_names_its_encoding(folder):
    """Otherwise it is that of the locale."""
    root = Path(__file__).parents[1]
    found = {
        path.relative_to(root).as_posix(): lines
        for path in (root / folder).rglob("*.py")
        if (lines := list(calls_that_open_text(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


@pytest.mark.process
def test_commands_open_every_text_as_utf_8(tmp_path):
    """In a locale of ASCII, with names that it lacks; what opens a text in the encoding of the locale is an error."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    factors = np.stack([np.arange(40) % 2, np.arange(40) % 3], axis=1)
    np.savez(tmp_path / "images.npz", images=images, factors=factors, factor_names=["größe", "色"])
    rows = [f"行{i},{i % 3},{0.5 * i + 0.25},{i * i % 7 + 0.5}" for i in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["名,größe,ä,ö", *rows]), encoding="utf-8")
    code = (
        "import pathlib, warnings; from jaxvae.cli.main import main; "
        "warnings.filterwarnings('error', category=EncodingWarning, module='jaxvae'); "
        "[main(line.split()) for line in pathlib.Path('lines').read_text('utf-8').splitlines()]"
    )
    small = "--network mlp-small --batch-size 8"
    lines = [
        f"train vae --data arrays:images.npz {small} --steps 2 --run r",
        "train --run r --resume --steps 4 --no-score",
        "compare r --num-samples 40 --out c.html --csv c.csv --latex c.tex --markdown c.md",
        "encode r --out codes.csv",
        "score codes.csv --factors größe --metrics mig --out scores.html",
        f"train vae --data table:table.csv --label-columns größe {small} --steps 2 --no-score --run t",
        "encode t --out rows.tsv",
        "fit pca --data table:table.csv --label-columns größe --latents 2 --run p",
    ]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "gbk"}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", code]
    (tmp_path / "lines").write_text("\n".join(lines), encoding="utf-8")
    environment = {**os.environ, **locale, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert b"Traceback" not in done.stderr
    assert "größe" in (tmp_path / "r" / "report" / "index.html").read_text(encoding="utf-8")
    assert "行39" in (tmp_path / "rows.tsv").read_text(encoding="utf-8")
