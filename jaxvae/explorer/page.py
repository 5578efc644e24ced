"""The page of the explorer, from the templates beside this file and those of the reports."""

from importlib.metadata import version
from pathlib import Path

from jinja2 import ChoiceLoader, FileSystemLoader

from jaxvae.explorer.state import Explorer
from jaxvae.files import printable
from jaxvae.report.page import PAGES

OWN = PAGES.overlay(
    loader=ChoiceLoader([FileSystemLoader(Path(__file__).with_name("templates")), PAGES.loader])  # type: ignore[list-item]
)


def explorer_html(explorer: Explorer) -> str:
    """Renders the page of a run. All texts of the run are escaped."""
    run = explorer.run
    title = printable(f"{run.method.name} on {run.source.name}")
    return OWN.get_template("explorer.html").render(title=title, version=version("jaxvae"))
