"""`python -m jaxvae` is the `jaxvae` command."""

from jaxvae.cli.main import main

main()
