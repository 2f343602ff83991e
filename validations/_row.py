"""A row of a validation: what is expected, what we have, and the band that it is held to; results as JSON."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent
KINDS = ("measured", "published", "theory", "another way to compute it")
Side = Literal["within", "at most", "at least"]


@dataclass(frozen=True)
class Row:
    """``expected`` beside ``ours``. Without ``expected``, ``ours`` is an error itself: of ``count`` rows held out.

    ``band``: how large the error may be (``difference``: as a difference, else as a share of what is expected); None:
    reported and held to nothing. One-sided rows hold ours to ``expected`` itself.
    """

    case: str
    metric: str
    expected: float | None
    ours: float
    unit: str = ""
    band: float | None = None
    side: Side = "within"
    difference: bool = False
    count: int = 1

    @property
    def error(self) -> float | None:
        """Signed; None where the expected value is a bound, or 0."""
        if self.side != "within":
            return None
        if self.expected is None:
            return self.ours
        if self.difference:
            return self.ours - self.expected
        return self.ours / self.expected - 1 if self.expected else None

    @property
    def holds(self) -> bool | None:
        """None where nothing is held."""
        if self.side != "within":
            assert self.expected is not None
            return self.ours <= self.expected if self.side == "at most" else self.ours >= self.expected
        if self.band is None:
            return None
        assert self.error is not None
        return abs(self.error) <= self.band


@dataclass(frozen=True)
class Found:
    """What one validation found: its rows, and curves (name -> x and y) where a picture needs more than they say."""

    rows: list[Row]
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def names() -> list[str]:
    """Every validation, by its file."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def module(name: str) -> Any:
    return importlib.import_module(f"validations.{name}")


def result_file(name: str) -> Path:
    return FOLDER / "rows" / f"{name}.json"


def write(name: str, found: Found) -> None:
    content = {"rows": [_lean(asdict(row)) for row in found.rows], "curves": found.curves}
    result_file(name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(name: str) -> Found:
    content = json.loads(result_file(name).read_text(encoding="utf-8"))
    return Found([Row(**row) for row in content["rows"]], content["curves"])


def _lean(row: dict[str, Any]) -> dict[str, Any]:
    """Without what is as by default; numbers with the digits that matter."""
    plain = asdict(Row("", "", None, 0.0))
    kept = {key: value for key, value in row.items() if key in ("case", "metric", "expected", "ours")}
    kept |= {key: value for key, value in row.items() if key not in kept and value != plain[key]}
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in kept.items()}
