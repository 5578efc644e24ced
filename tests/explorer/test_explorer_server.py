"""Requests to the explorer: only this page on this machine is answered, and questions have limits."""

import json
import socket

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs pip install starlette uvicorn")

from jaxvae.cli.main import main
from jaxvae.explorer.server import MOST_JSON, MOST_UPLOAD, application, open_port
from jaxvae.explorer.state import Explorer
from tests.explorer.explored import PORT, TOKEN, ask, pixels, post, small_run

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def explorer():
    return Explorer(small_run(), 40)


@pytest.fixture(scope="module")
def app(explorer):
    return application(explorer, TOKEN, PORT)


def test_the_page_its_data_and_its_headers(app, explorer):
    page = ask(app, "")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert TOKEN.encode() not in page.body
    assert ask(app, "about").json["count"] == 40
    assert ask(app, "examples?at=1,2").body == explorer.examples_at([1, 2])
    assert len(ask(app, "prior?seed=3").json["code"]) == 4
    framed = application(explorer, TOKEN, PORT, framed=True)
    assert "http://localhost:*" in ask(framed, "").headers["content-security-policy"]


def test_codes_are_decoded(app, explorer):
    code = explorer.codes.mean[:2].tolist()
    answer = post(app, "decode", {"codes": code}, origin=f"http://127.0.0.1:{PORT}")
    assert answer.status == 200
    np.testing.assert_array_equal(pixels(answer.body), pixels(explorer.decode(np.array(code, np.float32))))
    moving = post(app, "animation", {"codes": code, "values": [0, 1], "name": "<z0>"})
    assert (moving.status, moving.headers["content-type"], moving.body[:4]) == (200, "image/gif", b"GIF8")


@pytest.mark.parametrize("path", ["", "about", "examples?at=0", "decode", "nothing"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"token": "wrong-token"}, b"the token in the address is wrong"),
        ({"token": ""}, b"the token in the address is wrong"),
        ({"host": "evil.example"}, b"the Host is not this machine"),
        ({"host": "127.0.0.1:8124"}, b"the Host is not this machine"),
        ({"host": None}, b"the Host is not this machine"),
        ({"origin": "http://evil.example"}, b"the request comes from another page"),
        ({"origin": "null"}, b"the request comes from another page"),
        ({"origin": f"https://127.0.0.1:{PORT}"}, b"the request comes from another page"),
    ],
)
def test_requests_of_others_are_refused(app, path, changes, told):
    answer = ask(app, path, **changes)
    assert answer.status == 403
    assert told in answer.body
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers


def test_a_browser_is_led_to_the_page_once(explorer):
    """The token is not among the arguments of its process, which other users of the machine can read."""
    app = application(explorer, TOKEN, PORT, once="only-once")
    assert ask(app, "", token="only-once", host="evil.example").status == 403
    assert ask(app, "", token="only-once", method="POST").status == 403
    first = ask(app, "", token="only-once")
    assert (first.status, first.headers["location"]) == (303, f"/{TOKEN}/")
    assert ask(app, "", token="only-once").status == 403
    assert ask(app, "").status == 200
    assert ask(application(explorer, TOKEN, PORT), "", token="None").status == 403


def test_the_command_gives_the_browser_another_address(monkeypatch, capsys, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("jaxvae.cli.explore.load_run", lambda *given, **more: small_run())

    class Served:
        def run(self, sockets):
            self.on_start()

    def server_of(app, on_start):
        served = Served()
        served.on_start = on_start
        return served

    monkeypatch.setattr("jaxvae.cli.explore.server_of", server_of)
    main(["explore", str(tmp_path), "--num-samples", "20"])
    printed = capsys.readouterr().out.split()[1]
    assert opened[0].rsplit("/", 2)[0] == printed.rsplit("/", 2)[0]
    assert opened[0] != printed
    main(["explore", str(tmp_path), "--num-samples", "20", "--no-browser"])
    assert len(opened) == 1


def test_both_names_of_this_machine_are_known(app):
    assert ask(app, "about", host=f"localhost:{PORT}", origin=f"http://localhost:{PORT}").status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("decode", b"no json", 400, "Expecting value"),
        ("decode", b"[1]", 400, "a question is a JSON object"),
        ("decode", b'{"codes": [[1, 2], [3]]}', 400, "codes must be lists of numbers"),
        ("decode", b'{"codes": "<script>"}', 400, "codes must be lists of numbers"),
        ("decode", b'{"codes": [[NaN, 0, 0, 0]]}', 400, "latents must be numbers from"),
        ("decode", b'{"codes": [[0, 0, 0, 0]], "base": [1]}', 200, ""),
        ("decode", b"[" * 200_000, 400, "nested too deeply"),
        ("decode", b" " * (MOST_JSON + 1), 413, "at most 4,000,000 bytes"),
        ("encode", b"x" * (MOST_UPLOAD + 1), 413, "at most 10,000,000 bytes"),
        ("encode", b"no picture", 400, "no picture in one of the formats"),
        ("animation", b'{"codes": [[0, 0, 0, 0]], "values": [1]}', 400, "at least two codes"),
        ("decode", b'{"codes": [[0, 0, 0, 0]], "rows": 1}', 400, "rows must be a list"),
        ("decode", b'{"codes": [[0, 0, 0, 0]], "rows": [40]}', 400, "numbers of examples, 0 to 39"),
        ("decode", b'{"codes": [[0, 0, 0, 0]], "rows": [null]}', 200, ""),
    ],
)
def test_bad_questions_are_answered_in_a_line(app, path, body, status, told):
    answer = ask(app, path, method="POST", body=body)
    assert answer.status == status
    if told:
        assert told in answer.body.decode()
        assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("examples", 400),
        ("examples?at=x", 400),
        ("examples?at=-1", 400),
        (f"examples?at={'0,' * 300}0", 400),
        ("prior?seed=x", 400),
        ("drawn", 400),
        ("nothing", 404),
        ("decode", 405),
    ],
)
def test_other_paths(app, path, status):
    assert ask(app, path).status == status


def test_texts_of_the_run_are_escaped(explorer):
    attack = "</script><img src=x onerror=alert(1)>"
    run = explorer.run._replace(method=explorer.run.method._replace(name=attack))
    hostile = Explorer(run, 8)
    page = ask(application(hostile, TOKEN, PORT), "").body.decode()
    assert attack not in page
    assert "&lt;/script&gt;&lt;img" in page
    assert json.loads(ask(application(hostile, TOKEN, PORT), "about").body)["title"].startswith(attack)


def test_a_port_in_use_is_named():
    with open_port(0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ValueError, match=f"port {port} can't be used .*: choose another --port"):
            open_port(port)
        with socket.create_connection(("127.0.0.1", port)):
            pass
