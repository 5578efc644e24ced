"""Runs on the Hugging Face Hub: the weights and settings of a run in a repository, and folders of runs made from one.

`push` writes model.safetensors and config.json, as `jaxvae.runs.export` does, and a model card to a repository, and
`pull` writes them to a folder, with which commands that need no checkpoint work. `HF_ENDPOINT` names another server
than the public one, and `HF_TOKEN` or `hf auth login` gives the token.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from jaxvae.files import write_bytes, write_json, write_text
from jaxvae.runs.export import export, load, read_weights
from jaxvae.runs.folder import MODEL, check_new
from jaxvae.runs.load import Run
from jaxvae.training.run_folder import TRAINED

CARD = "README.md"
NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


class HubError(OSError):
    """The hub cannot be reached, or it refuses what it was asked for."""


def require_packages() -> None:
    """Raises ValueError, with the line that installs them, if a package is missing."""
    needed = ("huggingface_hub", "safetensors")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ValueError(f"the hub needs {' and '.join(missing)}: pip install 'jaxvae[hub]'")


def check_name(repository: str) -> None:
    """Raises ValueError if the name of a repository is not USER/NAME."""
    if not NAME.fullmatch(repository) or ".." in repository:
        raise ValueError(f"a repository is named USER/NAME, such as me/beta-vae-sprites, got {repository!r}")


def check_token() -> None:
    """Raises ValueError if there is no token to push with."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise ValueError("push needs a token that may write: set HF_TOKEN, or log in with `hf auth login`")


def push(run: Run, repository: str, card: str, *, private: bool = False) -> str:
    """Writes the weights, the settings and the card of a run to a repository, in one commit.

    Args:
      run: Run, such as `load_run` returns.
      repository: Repository, USER/NAME, which is made if there is none.
      card: Text of the model card, from `jaxvae.report.card.model_card`.
      private: Whether a repository that is made is private.

    Returns:
      Address of the repository.

    Raises:
      jaxvae.runs.export.NotExported: The run has no weights.
      ValueError: The name is no USER/NAME, a package is missing, or there is no token.
      HubError: The hub cannot be reached or refuses the commit.
    """
    require_packages()
    check_name(repository)
    check_token()
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(prefix="jaxvae-push-") as name:
        folder = Path(name)
        export(run, "safetensors", folder)
        write_text(folder / CARD, card)
        with _in_a_line(repository):
            api = HfApi(library_name="jaxvae")
            address = api.create_repo(repository, exist_ok=True, private=private or None)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Push a run of jaxvae")
    return str(address)


def fetch(repository: str, name: str, revision: str | None = None) -> Path:
    """Downloads a file of a repository into the cache of huggingface_hub, unless it is there.

    Args:
      repository: Repository, USER/NAME.
      name: Name of the file.
      revision: Branch, tag or commit; by default, the main branch.

    Returns:
      Path of the file in the cache.

    Raises:
      ValueError: A package is missing, or there is no such repository, revision or file.
      HubError: The hub cannot be reached or refuses to send the file.
    """
    require_packages()
    check_name(repository)
    from huggingface_hub import hf_hub_download

    with _in_a_line(repository, name, revision):
        return Path(hf_hub_download(repository, name, revision=revision, library_name="jaxvae"))


def pull(repository: str, folder: Path, *, revision: str | None = None, trust: bool = False) -> Run:
    """Writes a run from a repository into a folder. It encodes, decodes and is scored as any other, but not resumed.

    Args:
      repository: Repository, USER/NAME, that `push` wrote.
      folder: New or empty folder.
      revision: Branch, tag or commit; by default, the main branch.
      trust: Whether the run may name a method or a network of a module, as in `jaxvae.load`.

    Returns:
      The run, without examples.

    Raises:
      jaxvae.training.run_folder.RunFolderError: The folder has files.
      ValueError: There is no such repository or revision, or it holds no run that can be loaded.
      HubError: The hub cannot be reached or refuses to send the file.
    """
    check_new(folder)
    path = fetch(repository, MODEL, revision)
    run, content = load(path, trust=trust), path.read_bytes()
    try:
        card = fetch(repository, CARD, revision).read_text(encoding="utf-8", errors="replace")
    except ValueError:  # a model without a card is as good
        card = None
    folder.mkdir(parents=True, exist_ok=True)
    if card is not None:
        write_text(folder / CARD, card)
    write_bytes(folder / MODEL, content)
    write_json(folder / TRAINED, {"data": read_weights(path)[0]["data"]})
    write_json(folder / "config.json", run.config.to_json())  # last: with it, the folder is that of a run
    return run._replace(folder=folder)


@contextmanager
def _in_a_line(repository: str, name: str = "", revision: str | None = None) -> Iterator[None]:
    """Turns the errors of huggingface_hub into ValueErrors about what was asked for, and HubErrors.

    Its progress bars are shown in a terminal only.
    """
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hidden = are_progress_bars_disabled()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(f"{repository} is a gated repository: ask its owner for access on its page") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"there is no repository {repository} at {constants.ENDPOINT}, or it is private and needs a token of its "
            "owner in HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repository} has no revision {revision!r}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise ValueError(f"{repository} has no file {name}, so it holds no model that jaxvae has pushed") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise HubError(f"the hub refuses this for {repository}: HF_TOKEN must be a token that may do it") from error
        raise HubError(f"the hub answers with an error to a request for {repository}: {_first_line(error)}") from error
    except Exception as error:  # of httpx, of the storage of weights, or of the hub's answers
        raise HubError(f"{constants.ENDPOINT} fails for {repository}: {_first_line(error)}") from error
    finally:
        if not hidden:
            enable_progress_bars()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
