"""The command `jaxvae explore`, which serves an interactive page of a run on this machine."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxvae.cli.terminal import parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.explorer.server import address, application, new_token, open_port, require_packages, server_of
from jaxvae.explorer.state import NUM_SAMPLES, Explorer
from jaxvae.runs.load import load_run


@dataclass(frozen=True)
class ExploreArgs:
    """Opens a page on which the latents of a run are moved. Ctrl-C ends it."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""
    num_samples: int = NUM_SAMPLES
    """Number of examples that can be chosen, and points of the scatter plot."""
    data: str | None = None
    """Place of the data of the run, such as arrays:PATH, where it is not the one that the run was trained with."""
    port: int = 0
    """Port on 127.0.0.1. By default, any free one."""
    no_browser: bool = False
    """Prints the address of the page without opening a browser."""


def explore_command(arguments: list[str]) -> None:
    """Open an interactive page of a run"""
    args = parse(ExploreArgs, "explore", arguments)
    use_compilation_cache()
    with usage_errors():
        require_packages()
        socket = open_port(args.port)
        with socket:
            explorer = Explorer(load_run(args.run, args.checkpoint, data=args.data), args.num_samples)
            if explorer.missing_data:
                print(f"the examples are drawn from the prior: {explorer.missing_data}")
            explorer.warm_up()
            token, once, port = new_token(), new_token(), socket.getsockname()[1]

            def tell() -> None:
                print(f"explorer: {address(port, token)} (Ctrl-C ends it)", flush=True)
                if not args.no_browser:
                    webbrowser.open(address(port, once))

            app = application(explorer, token, port, once=None if args.no_browser else once)
            server_of(app, tell).run(sockets=[socket])
    print("the explorer has ended")
