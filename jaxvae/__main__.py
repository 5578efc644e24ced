"""`python -m jaxvae` is the `jaxvae` command."""

from jaxvae.cli import main

main()
