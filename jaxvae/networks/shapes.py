"""Shapes of examples, as networks see them."""


def picture_shape(event_shape: tuple[int, ...], what: str) -> tuple[int, int, int]:
    """Returns the shape of an example as (height, width, channels).

    Raises:
      ValueError: The examples are no pictures. The message says what to choose instead of `what`.
    """
    if len(event_shape) != 3:
        raise ValueError(
            f"{what} needs pictures, and the examples are {shape_in_words(event_shape)}: choose the network 'mlp', "
            "or a method that takes them"
        )
    height, width, channels = event_shape
    return height, width, channels


def series_shape(event_shape: tuple[int, ...], what: str) -> tuple[int, int]:
    """Returns the shape of an example as (times, values).

    Raises:
      ValueError: The examples are no series. The message says what to choose instead of `what`.
    """
    if len(event_shape) != 2:
        raise ValueError(
            f"{what} needs series [T, D], and the examples are {shape_in_words(event_shape)}: choose the network 'mlp'"
        )
    times, values = event_shape
    return times, values


def things_of(event_shape: tuple[int, ...]) -> str:
    """Returns what examples of a shape are called in the plural: images or rows."""
    return "images" if len(event_shape) == 3 else "rows"


def shape_in_words(event_shape: tuple[int, ...]) -> str:
    """Describes the shape of examples in the plural, such as "vectors of 50 numbers"."""
    match event_shape:
        case (values,):
            return f"vectors of {values} number{'s' * (values != 1)}"
        case (times, values):
            return f"series of {times} times {values} numbers"
        case _:
            return f"images of {'x'.join(map(str, event_shape))}"
