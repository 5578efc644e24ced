"""The explorer in a notebook: the same page in a frame."""

import threading
import time
from html import escape
from pathlib import Path

from jaxvae.explorer.server import address, application, new_token, open_port, require_packages, server_of
from jaxvae.explorer.state import NUM_SAMPLES, Explorer
from jaxvae.runs.load import Run, load_run

PATIENCE = 60
"""Number of seconds to wait for the server."""


class Exploration:
    """A running explorer. A notebook shows it in a frame; it ends with the notebook, or with `stop`."""

    def __init__(self, explorer: Explorer, port: int, height: int):
        token = new_token()
        self._socket = open_port(port)
        port = self._socket.getsockname()[1]
        self.url = address(port, token)
        """Address of the page."""
        self.height = height
        """Height of the frame in pixels."""
        self._server = server_of(application(explorer, token, port, framed=True))
        sockets = [self._socket]
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=sockets), daemon=True)
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not self._server.started and self._thread.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        if not self._server.started:
            raise RuntimeError(f"the explorer did not start within {PATIENCE} s at {self.url}")

    def stop(self) -> None:
        """Ends the server."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        more = f'style="{style}" title="jaxvae explorer" allow="clipboard-write"'
        return f'<iframe src="{escape(self.url)}" {more}></iframe>'

    def __repr__(self) -> str:
        return f"Exploration({self.url})"


def explore(run: Run | Path | str, *, num_samples: int = NUM_SAMPLES, port: int = 0, height: int = 900) -> Exploration:
    """Serves the explorer of a run from this process; the result shows it in a notebook.

    The browser must run on the same machine as the notebook, or reach its port through a tunnel.

    Args:
      run: Run, or its folder.
      num_samples: Number of examples that can be chosen.
      port: Port of the server; by default, any free one.
      height: Height of the frame in pixels.

    Returns:
      The running explorer, with its address as `url`, and `stop`.

    Raises:
      ValueError: starlette or uvicorn is missing, or the run or the port cannot be used.
    """
    require_packages()
    explorer = Explorer(run if isinstance(run, Run) else load_run(run), num_samples)
    explorer.warm_up()
    return Exploration(explorer, port, height)
