"""Detection, within a second, of the death of another process in a distributed run.

JAX detects it as well, but only after 100 seconds without a heartbeat, and then aborts with a stack trace. Here, every
process holds a connection to process 0, which the operating system closes as soon as either end dies.
"""

import atexit
import os
import secrets
import socket
import sys
import threading
import time

import jax
from jax.experimental import multihost_utils

from jaxvae.training.processes import ADDRESS, gather_texts

GRACE = 0.5
"""Time in seconds that this process has to exit by itself, for instance when all processes meet the same error."""
PATIENCE = 10.0
"""Time in seconds to wait for a connection. Without a connection, only JAX's own heartbeat remains."""
BYE, LOST = b"bye", b"lost"


def watch_others() -> None:
    """Exits this process with a line on stderr when another process of the run dies. All processes must call it.

    A process whose interpreter exits normally announces it, and does not count as lost.
    """
    if jax.process_count() == 1:
        return
    server = socket.create_server(("", 0)) if jax.process_index() == 0 else None
    told = "" if server is None else f"{server.getsockname()[1]} {secrets.token_hex(16)}"
    port, token = gather_texts(told)[0].split()
    connections: dict[int, socket.socket] = {}
    if server is not None:
        _accept(server, token, connections)
    else:
        try:
            connections[0] = socket.create_connection((_host(), int(port)), timeout=PATIENCE)
            connections[0].sendall(f"{token} {jax.process_index():08d}".encode())
        except OSError:
            connections.clear()
    multihost_utils.sync_global_devices("connected")
    for number, connection in connections.items():
        connection.settimeout(None)
        _keep_alive(connection)
        threading.Thread(target=_watch, args=(number, connection, connections), daemon=True).start()
    atexit.register(_say_goodbye, connections)


def _accept(server: socket.socket, token: str, connections: dict[int, socket.socket]) -> None:
    """Waits for all other processes, and rejects connections without the token."""
    end = time.monotonic() + PATIENCE
    with server:
        while len(connections) < jax.process_count() - 1 and (left := end - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                connection, _ = server.accept()
                connection.settimeout(1.0)
                known, _, number = connection.recv(64).decode().partition(" ")
            except (OSError, UnicodeDecodeError):
                continue
            if secrets.compare_digest(known, token):
                connections[int(number)] = connection
            else:
                connection.close()


def _watch(number: int, connection: socket.socket, connections: dict[int, socket.socket]) -> None:
    try:
        said = connection.recv(64)
    except OSError:
        said = b""
    if said.startswith(BYE):
        return
    lost = number
    if said.startswith(LOST):
        lost = int(said.removeprefix(LOST))
    else:
        for other, each in connections.items():
            if other != number:
                _send(each, LOST + str(number).encode())
    if lost != 0:  # without its coordinator, JAX aborts this process within a tenth of a second
        time.sleep(GRACE)
    print(
        f"jaxvae: process {lost} of {jax.process_count()} was lost; its own output says why. Run the same command "
        "with --resume in all processes",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _say_goodbye(connections: dict[int, socket.socket]) -> None:
    for connection in connections.values():
        _send(connection, BYE)


def _send(connection: socket.socket, text: bytes) -> None:
    try:
        connection.sendall(text)
    except OSError:
        return


def _host() -> str:
    """Returns the host of process 0."""
    from jax._src.distributed import global_state  # the address that JAX has found if the environment names none

    address = os.environ.get(ADDRESS) or getattr(global_state, "coordinator_address", None) or "localhost:0"
    return address.rsplit(":", 1)[0].strip("[]")


def _keep_alive(connection: socket.socket) -> None:
    """Detects a machine that is switched off, which closes no connection: it counts as lost after 20 seconds without an
    answer.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
