"""Quantities as pydantic fields: written with a unit, held as the exact integer of the base unit.

``Time`` is picoseconds, ``Size`` bytes, ``Rate`` bits per second. Defaults are given as integers. A field's dimension
is found again with ``dimension_of``, so that values can be printed with a unit and the reference can name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer

from models import units


@dataclass(frozen=True)
class Quantity:
    """Mark on a field: its dimension, and the words that may stand in its place (``auto``, ``unlimited``), if any."""

    dimension: str
    words: tuple[str, ...] = ()

    def parse(self, value: object) -> object:
        """The integer of the base unit, or a word itself; ValueError with the reason."""
        if value in self.words:
            return value
        try:
            if self.dimension == "frequency":
                return units.parse_frequency(value)
            return units.parse(value, self.dimension)
        except ValueError as error:
            if not self.words:
                raise
            raise ValueError(f"{error}, or the word {' or '.join(self.words)}") from None

    def show(self, value: object) -> object:
        """Text with a unit, exact."""
        if isinstance(value, Fraction):  # a frequency
            exact = value.numerator if value.denominator == 1 else float(value)
            return f"{exact}/s"
        return units.show(value, self.dimension) if isinstance(value, int) else value


def _pieces(quantity: Quantity) -> tuple[Any, ...]:
    return quantity, BeforeValidator(quantity.parse), PlainSerializer(quantity.show, when_used="json")


_TIME, _SIZE, _RATE = Quantity("time"), Quantity("size"), Quantity("rate")
_FREQUENCY = Quantity("frequency")
_SIZE_AUTO, _SIZE_UNLIMITED = Quantity("size", ("auto",)), Quantity("size", ("unlimited",))
_SIZE_EITHER, _SIZE_PACKET = Quantity("size", ("auto", "unlimited")), Quantity("size", ("auto", "packet"))
_TIME_AUTO, _TIME_MEASURED = Quantity("time", ("auto",)), Quantity("time", ("measured",))

LONGEST_MEAN = 80 * 3600 * 10**12  # ps, of times that are drawn: thirty times that is still on the clock

Time = Annotated[int, *_pieces(_TIME)]
Size = Annotated[int, *_pieces(_SIZE)]
Rate = Annotated[int, *_pieces(_RATE)]
Frequency = Annotated[Fraction, *_pieces(_FREQUENCY)]
SizeOrAuto = Annotated[int | Literal["auto"], *_pieces(_SIZE_AUTO)]
SizeOrUnlimited = Annotated[int | Literal["unlimited"], *_pieces(_SIZE_UNLIMITED)]
SizeAutoOrUnlimited = Annotated[int | Literal["auto", "unlimited"], *_pieces(_SIZE_EITHER)]
SizeAutoOrPacket = Annotated[int | Literal["auto", "packet"], *_pieces(_SIZE_PACKET)]
TimeOrAuto = Annotated[int | Literal["auto"], *_pieces(_TIME_AUTO)]
TimeOrMeasured = Annotated[int | Literal["measured"], *_pieces(_TIME_MEASURED)]


def dimension_of(annotation: Any, metadata: Any = ()) -> Quantity | None:
    """The quantity mark of a field's annotation (``T | None`` and lists looked through), or None."""
    for mark in metadata:
        if isinstance(mark, Quantity):
            return mark
    for inner in get_args(annotation):
        if isinstance(inner, Quantity):
            return inner
        found = dimension_of(inner)
        if found is not None:
            return found
    return None
