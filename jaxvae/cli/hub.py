"""The commands `jaxvae push` and `jaxvae pull`, which keep runs on the Hugging Face Hub."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxvae.cli.terminal import parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.runs import hub
from jaxvae.runs.absent import absent_source
from jaxvae.runs.load import load_run
from jaxvae.runs.score import read_scores


@dataclass(frozen=True)
class PushArgs:
    """Writes the weights and settings of a run to the Hugging Face Hub, with a model card of its scores and data.

    The settings name the place of the data, and for a table its columns and their values: they are public unless the
    repository is private.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    repository: tyro.conf.Positional[str]
    """Repository, USER/NAME. It is made if there is none."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""
    private: bool = False
    """Makes a new repository private."""
    license: str | None = None
    """License of the weights for the model card, such as apache-2.0."""


@dataclass(frozen=True)
class PullArgs:
    """Writes a run from the Hugging Face Hub into a folder."""

    repository: tyro.conf.Positional[str]
    """Repository, USER/NAME, that `jaxvae push` wrote."""
    run: Path
    """New or empty folder for the run."""
    revision: str | None = None
    """Branch, tag or commit of the repository. By default, the main branch."""
    trust: bool = False
    """Allows a method or a network of a Python module, which is imported and called. Only for runs of your own."""


def push_command(arguments: list[str]) -> None:
    """Write a run to the Hugging Face Hub"""
    args = parse(PushArgs, "push", arguments)
    use_compilation_cache()
    with usage_errors():
        hub.require_packages()
        hub.check_name(args.repository)
        run = load_run(args.run, args.checkpoint, needs_data=absent_source(args.run, "") is None)
        hub.check_token()
        from jaxvae.report.card import model_card

        card = model_card(run, args.repository, read_scores(args.run), args.license)
        address = hub.push(run, args.repository, card, private=args.private)
    print(f"pushed: {address}")


def pull_command(arguments: list[str]) -> None:
    """Write a run from the Hugging Face Hub into a folder"""
    args = parse(PullArgs, "pull", arguments)
    use_compilation_cache()
    with usage_errors():
        hub.require_packages()
        run = hub.pull(args.repository, args.run, revision=args.revision, trust=args.trust)
    print(f"pulled {run.method.name} of {run.data_in_words}, step {int(run.state.step):,}: {args.run}")
