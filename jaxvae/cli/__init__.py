"""The `jaxvae` command, with one module per command. `main` runs it from Python, as `jaxvae.cli.main` did in 0.1."""

from jaxvae.cli.main import main

__all__ = ["main"]
