"""The keyword arguments of a method's builder, as options of the command line."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from jaxvae.method import Method
from jaxvae.methods import Entry
from jaxvae.methods.likelihoods import LikelihoodName

LIKELIHOOD: tuple[tuple[str, Any, Any], ...] = (
    (
        "likelihood",
        Annotated[
            LikelihoodName,
            tyro.conf.arg(
                help="Likelihood of a value given the code; gaussian and laplace add --scale. auto is bernoulli for "
                "images, gaussian for vectors, and one for each kind of column for tables, with learned scales."
            ),
        ],
        dataclasses.field(default="auto"),
    ),
    (
        "scale",
        Annotated[float, tyro.conf.arg(help="Standard deviation of the gaussian, or scale of the laplace likelihood.")],
        dataclasses.field(default=1.0),
    ),
    (
        "library",
        Annotated[
            Literal["none", "rows"],
            tyro.conf.arg(
                help="Where the sum of a row's expected counts comes from: the decoder (none), or the row's own counts "
                "(rows), so that the code need not hold it. With rows, codes without their rows, as in jaxvae decode "
                "and export, are decoded to the size of a mean row."
            ),
        ],
        dataclasses.field(default="none"),
    ),
)


def options_of(entry: Entry) -> type:
    """Derives a dataclass of the options that the command line can pass to a method's builder.

    Networks and hyperparameters are not included. Options are keyword arguments that take a number or one of several
    words and do not follow from the data. Their help is their paragraph in the builder's docstring. A builder with the
    argument `likelihood` has the fields `likelihood` (a name), `scale` and, unless it has this argument itself,
    `library`.
    """
    told = frozenset(field.name for field in dataclasses.fields(entry.batches))
    return _options_of(entry.build, told)


def takes_likelihood(entry: Entry) -> bool:
    """Whether the builder of a method has the argument `likelihood`."""
    return "likelihood" in inspect.signature(entry.build).parameters


@functools.cache
def _options_of(build: Callable[..., Method], told: frozenset[str]) -> type:
    fields: list[tuple[str, Any, Any]] = []
    hints, explained = get_type_hints(build), _arguments(inspect.getdoc(build) or "")
    parameters = inspect.signature(build).parameters
    for name, parameter in parameters.items():
        hint = hints.get(name)
        simple = [
            kind
            for kind in (get_args(hint) if get_origin(hint) is not Literal else ()) + (hint,)
            if kind in (int, float, bool) or get_origin(kind) is Literal
        ]
        given = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        if given and simple and name not in told:
            kind = Annotated[simple[0], tyro.conf.arg(help=explained.get(name))]
            fields.append((name, kind, dataclasses.field(default=parameter.default)))
    if "likelihood" in parameters:
        fields += [each for each in LIKELIHOOD if each[0] == "likelihood" or each[0] not in parameters]
    options = dataclasses.make_dataclass("Options", fields, frozen=True)
    options.__doc__ = "Choices that the method offers."
    return options


def _arguments(docstring: str) -> dict[str, str]:
    """Returns the paragraphs below "Args:", by argument."""
    found: dict[str, str] = {}
    lines = docstring.partition("Args:\n")[2].splitlines()
    name = ""
    for line in lines:
        if not line.startswith("  "):
            break
        word, colon, rest = line.strip().partition(": ")
        if not line.startswith("   ") and colon and word.isidentifier():
            name, text = word, rest
        else:
            text = line.strip()
        if name:
            found[name] = f"{found[name]} {text}" if name in found else text
    sentences = {name: text.replace("`", "") for name, text in found.items()}
    return {name: text[0].upper() + text[1:].rstrip(".") + "." for name, text in sentences.items()}
