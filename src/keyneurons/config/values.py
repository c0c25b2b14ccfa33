"""Types of single values in a configuration: numbers, names, paths, layers and addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from keyneurons.addresses import SQLITE, sqlite_address, sqlite_path
from keyneurons.choices import FEATURE_COLUMN, JOIN, SPLITS, TAG_COLUMNS, PaperWidth, Split


def _number(value: Any) -> Any:
    """Reject booleans, which Python counts as numbers.

    Raises:
        ValueError: If the value is a boolean.
    """
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _path(value: Any) -> Any:
    """Reject an empty path, which would mean the current folder.

    Raises:
        ValueError: If the path is empty.
    """
    if value == "":
        raise ValueError("should be a path (. is the current folder)")
    return value


Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number)]
PositiveInt = Annotated[Int, Field(gt=0)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]
NonEmptyPath = BeforeValidator(_path)


def _every_split(caps: Mapping[Split, int | None]) -> Mapping[Split, int | None]:
    if set(caps) != set(SPLITS):
        raise ValueError(f"set one value for each of {', '.join(SPLITS)}")
    return caps


Caps = Annotated[Mapping[Split, PositiveInt | None], AfterValidator(_every_split)]
Share = Annotated[Float, Field(gt=0, lt=1)]
Fractions = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


def one_line(most: int) -> AfterValidator:
    """Validate a name: printable, not blank and within MLflow's limit of ``most`` characters."""

    def check(name: str) -> str:
        if not name.strip() or not name.isprintable() or len(name) > most:
            raise ValueError(f"should be one line of 1 to {most} printable characters")
        return name

    return AfterValidator(check)


def quoted(value: Any) -> str:
    """Quote a value for the command line: ``1`` as ``'1'``, or ``'...'`` if its text is unknown."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else "..."
    return "'" + text.replace("'", r"\'") + "'"


def check_tags(tags: Any) -> Any:
    """Reject tags that are not text: YAML converts ``01``, ``1e3`` or ``null`` to other values.

    Raises:
        ValueError: If a tag is not text.
    """
    plain = isinstance(tags, list | tuple) and all(isinstance(tag, str | int | float | None) for tag in tags)
    if plain and not all(isinstance(tag, str) for tag in tags):
        example = ",".join(map(quoted, tags))
        raise ValueError(f'tags are text; quote them as in the treebank: "dataset.tags=[{example}]"')
    return tags


def tag_column(name: str) -> str:
    """Validate the name of a column of labels.

    Raises:
        ValueError: If there is no such column.
    """
    for part in name.split(JOIN):
        if part not in TAG_COLUMNS and not re.fullmatch(rf"{re.escape(FEATURE_COLUMN)}[^\s=|]+", part):
            legal = f"{', '.join(TAG_COLUMNS)} or {FEATURE_COLUMN}NAME, or several of them joined by {JOIN}"
            raise ValueError(f"should be {legal}; {_nearest(part)}".rstrip("; "))
    return name


def _nearest(part: str) -> str:
    """A suggestion for a column that does not exist."""
    close = get_close_matches(part.lower(), TAG_COLUMNS, n=1)
    suggestion = close[0] if close else f"{FEATURE_COLUMN}{part}" if part.isalpha() else ""
    return f"did you mean {suggestion}?" if suggestion else ""


def web_address(address: str) -> str:
    """Validate the address of a web server.

    Raises:
        ValueError: If it is none, or has a password.
    """
    if not re.fullmatch(r"https?://[^\s@?#]+", address):
        raise ValueError("should be an address such as https://HOST/PATH, without a user, a query or a fragment")
    return address


def device_name(name: str) -> str:
    """Validate the name of a device.

    Raises:
        ValueError: If the name is invalid.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("should be auto, cpu, cuda or cuda:NUMBER")
    return name


def weights_seed(value: Any) -> Any:
    """Reject values that are neither null nor an integer; a boolean would not name the seed.

    Raises:
        ValueError: If the value is anything else.
    """
    if value is not None and type(value) is not int:
        raise ValueError("should be null (trained weights) or a seed, such as 0 (permuted weights)")
    return value


def _auto_or_positive(value: Any) -> Any:
    """Reject everything but ``auto`` and whole numbers above 0.

    Raises:
        ValueError: If the value is anything else.
    """
    if value != "auto" and not (type(value) is int and value > 0):
        raise ValueError("should be auto or an integer above 0")
    return value


BatchTokens = Annotated[PositiveInt | Literal["auto"], BeforeValidator(_auto_or_positive)]


def _paper_width(value: Any) -> Any:
    """Reject everything but ``one``, ``two`` and a number of inches.

    Raises:
        ValueError: If the value is anything else.
    """
    inches = isinstance(value, int | float) and not isinstance(value, bool) and 2 <= value <= 20
    if not inches and value not in get_args(PaperWidth):
        raise ValueError("should be one or two (columns of a paper), or a number of inches from 2 to 20")
    return value


FigureWidth = Annotated[PaperWidth | Annotated[Float, Field(ge=2, le=20)], BeforeValidator(_paper_width)]
RunId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


def absolute_database(uri: str) -> str:
    """Make the path of an SQLite address absolute, relative to the working directory.

    Raises:
        ValueError: If options follow the path.
    """
    if not uri.startswith(SQLITE):
        return uri
    if "?" in uri:
        raise ValueError("must end with the path of the database (write %3F for ? and %25 for %)")
    return sqlite_address(sqlite_path(uri).absolute())


def layer_value(value: Any) -> int | float | tuple[int, ...] | Literal["all"]:
    """Validate a layer: a block number, a list of them, a relative depth, or ``all``.

    Raises:
        ValueError: If the value is anything else.
    """
    if type(value) is float and 0 <= value < 1:
        return value
    numbers = value if isinstance(value, list | tuple) else [value]
    if value == "all":
        return "all"
    if not numbers or any(type(number) is not int for number in numbers):
        raise ValueError("must be a block number, a list of block numbers, a relative depth (0.0 to below 1.0), or all")
    return value if isinstance(value, int) else tuple(numbers)


def tags_value(value: Any) -> int | tuple[str, ...] | Literal["all"]:
    """Validate a choice of tags: their number, a list of names, or ``all``.

    Raises:
        ValueError: If the value is anything else.
    """
    names = value if isinstance(value, list | tuple) else ()
    if value == "all" or (type(value) is int and value > 1):
        return value  # type: ignore[no-any-return]
    if len(set(names)) < 2 or any(not isinstance(name, str) for name in names):
        raise ValueError("must be a number of at least 2, a list of at least 2 tags, or all")
    return tuple(names)


TagChoice = Annotated[int | tuple[str, ...] | Literal["all"], BeforeValidator(tags_value)]


Layer = Annotated[
    int | Annotated[Float, Field(ge=0, lt=1)] | tuple[int, ...] | Literal["all"], BeforeValidator(layer_value)
]


def resolve_layers(layer: int | float | tuple[int, ...] | Literal["all"], n_layers: int) -> tuple[int, ...]:
    """List the selected blocks in ascending order without repetition.

    Negative numbers count from the end. A relative depth d is block ``floor(d n)`` of n.

    Raises:
        ValueError: If the model does not have a layer.
    """
    if layer == "all":
        return tuple(range(n_layers))
    if isinstance(layer, float):
        return (int(Fraction(str(layer)) * n_layers),)
    selected = (layer,) if isinstance(layer, int) else layer
    if outside := [number for number in selected if not -n_layers <= number < n_layers]:
        raise ValueError(f"layer must lie in {-n_layers}..{n_layers - 1} or be 'all', got {outside[0]}")
    return tuple(sorted({number % n_layers for number in selected}))
