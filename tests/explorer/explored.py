"""A small run to explore, and requests without a network."""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.runs.load import OwnConfig, Run
from jaxvae.training import make_train_step

TOKEN, PORT = "right-token", 8123
SOURCE = Sprites(16)


def untrained(method, source):
    """A run of a method before its first step."""
    init, _ = make_train_step(method, dataset_size=source.size)
    return Run(Path("none"), OwnConfig(method.name, {}, {}, 8, 0), source, method, init(jax.random.key(0)), [])


def small_run():
    """A beta-VAE of sprites whose weights are scaled up, so that its latents are active."""
    networks = autoencoder("mlp-small", SOURCE.event_shape, latent_dim=4)
    run = untrained(beta_vae(networks, hyperparameters=BetaVAE()), SOURCE)
    params = jax.tree.map(lambda leaf: 3 * leaf, run.state.params)
    return run._replace(state=run.state._replace(params=params))


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def ask(app, path, *, method="GET", body=b"", token=TOKEN, host=f"127.0.0.1:{PORT}", kind="http", **headers):
    """What the application answers to a request, by the ASGI protocol."""
    path, _, query = path.partition("?")
    given = [] if host is None else [("host", host)]
    given += [(name.replace("_", "-"), value) for name, value in headers.items()]
    scope = {
        "type": kind,
        "method": method,
        "path": f"/{token}/{path}",
        "raw_path": f"/{token}/{path}".encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given],
    }
    parts = [body[first : first + 2**20] for first in range(0, len(body), 2**20)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": k + 1 < len(parts)} for k, part in enumerate(parts)]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def post(app, path, value, **more):
    return ask(app, path, method="POST", body=json.dumps(value).encode(), **more)


def pixels(body, shape=(16, 16, 1)):
    return np.frombuffer(body, np.uint8).reshape(-1, *shape)
