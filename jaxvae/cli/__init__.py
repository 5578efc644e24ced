"""What the `jaxvae` command does, a module per command."""
