"""Quantities with units as exact integers: picoseconds, bytes, bits per second. And back to text.

b is a bit, B is a byte; K, M, G, T are decimal, Ki, Mi, Gi, Ti binary. A quantity must be a whole number of its base
unit (1.5B is an error, 1.5KB is 1500 bytes); a bare number has no unit and is refused.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

Dimension = Literal["time", "size", "rate", "frequency"]

PS_PER_SECOND = 10**12
CLOCK_END = 2**63 - 1  # ps; 106 days

_TIME = {"ps": 1, "ns": 10**3, "us": 10**6, "µs": 10**6, "ms": 10**9, "s": 10**12, "min": 60 * 10**12}
_TIME["h"] = 3600 * 10**12
_PREFIX = {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_PREFIX |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SIZE = {f"{p}B": Fraction(f) for p, f in _PREFIX.items()} | {f"{p}b": Fraction(f, 8) for p, f in _PREFIX.items()}
_RATE = {f"{p}bps": Fraction(f) for p, f in _PREFIX.items()}
_RATE |= {f"{p}b/s": Fraction(f) for p, f in _PREFIX.items()}
_RATE |= {f"{p}B/s": Fraction(8 * f) for p, f in _PREFIX.items()} | {
    f"{p}Bps": Fraction(8 * f) for p, f in _PREFIX.items()
}
_TABLES: dict[str, dict[str, Fraction]] = {
    "time": {unit: Fraction(factor) for unit, factor in _TIME.items()},
    "size": _SIZE,
    "rate": _RATE,
}
_BASE = {"time": "picosecond", "size": "byte", "rate": "bit per second"}
_EXAMPLE = {"time": "2us", "size": "64KiB", "rate": "400Gbps"}
_NUMBER = re.compile(r"^\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*$")
_LIMIT = 2**63 - 1


def parse(text: object, dimension: str) -> int:
    """The exact integer of the base unit (ps, B or bit/s) that ``text`` names, or ValueError with the reason."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"a {dimension} is due, such as {_EXAMPLE[dimension]}")
    if not isinstance(text, str):
        raise ValueError(f"the bare number {text} has no unit; write a {dimension} such as {_EXAMPLE[dimension]}")
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not a {dimension}; write one such as {_EXAMPLE[dimension]}")
    number, unit = match.groups()
    table = _TABLES[dimension]
    if not unit:
        raise ValueError(f"the bare number {text} has no unit; write a {dimension} such as {_EXAMPLE[dimension]}")
    if unit not in table:
        raise ValueError(_wrong_unit(text, unit, dimension))
    exponent = re.search(r"[eE]([+-]?\d+)$", number)
    if exponent and abs(int(exponent.group(1))) > 30:
        raise ValueError(f"'{text}' is out of range")
    value = Fraction(number.replace("_", "")) * table[unit]
    if value.denominator != 1:
        raise ValueError(f"'{text}' is not a whole number of {_BASE[dimension]}s")
    if value < 0:
        raise ValueError(f"'{text}' is negative")
    if value > _LIMIT:
        raise ValueError(f"'{text}' is out of range (above 2^63 {_BASE[dimension]}s)")
    return int(value)


def _wrong_unit(text: str, unit: str, dimension: str) -> str:
    for other, table in _TABLES.items():
        if unit in table:
            return f"'{text}' is a {other}, but a {dimension} is due, such as {_EXAMPLE[dimension]}"
    same = [known for known in _TABLES[dimension] if known.lower() == unit.lower()]
    hint = f"; did you mean '{same[0]}'?" if same else f"; write a {dimension} such as {_EXAMPLE[dimension]}"
    return f"'{text}' has an unknown unit '{unit}'{hint}"


def parse_frequency(text: object) -> Fraction:
    """Events per second: '10/s', '2/ms', '5/us'."""
    match = (
        re.match(r"^\s*([\d.]+(?:[eE][+-]?\d{1,2})?)\s*/\s*(ps|ns|us|ms|s|min|h)\s*$", text)
        if isinstance(text, str)
        else None
    )
    if match is None:
        raise ValueError(f"'{text}' is not a frequency; write one such as 10/s")
    try:
        value = Fraction(match.group(1)) * PS_PER_SECOND / _TIME[match.group(2)]
    except ValueError:
        raise ValueError(f"'{text}' is not a frequency; write one such as 10/s") from None
    if value <= 0:
        raise ValueError(f"'{text}' must be above 0")
    return value


def show(value: int, dimension: str) -> str:
    """The shortest exact text of a quantity: 2000000 ps -> '2us', 65536 B -> '64KiB', 4*10^11 -> '400Gbps'."""
    if dimension == "time":
        steps = [("s", 10**12), ("ms", 10**9), ("us", 10**6), ("ns", 10**3), ("ps", 1)]
    elif dimension == "rate":
        steps = [("Tbps", 10**12), ("Gbps", 10**9), ("Mbps", 10**6), ("Kbps", 10**3), ("bps", 1)]
    else:
        decimal = [("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)]
        binary = [("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)]
        for unit, factor in decimal + binary:
            if value and value % factor == 0:
                return f"{value // factor}{unit}"
        steps = [("B", 1)]
    if value == 0:
        return f"0{steps[-1][0]}"
    for unit, factor in steps:
        # three decimals read well and stay exact
        if value >= factor and value * 1000 % factor == 0:
            thousandths = value * 1000 // factor
            return f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").rstrip(".") + unit
    return f"{value}{steps[-1][0]}"


def serialisation_ps(size: int, rate: int) -> int:
    """Time to put ``size`` bytes on a link of ``rate`` bit/s: ceil(bits x 10^12 / rate), at least 1 ps."""
    return max(1, -(-size * 8 * PS_PER_SECOND // rate))
