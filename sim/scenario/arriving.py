"""Keys that all workloads share which arrive over time: given gaps, and who sends to whom."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from models.errors import nearest
from sim.scenario.fields import Kinds, Section, absent, fault, key, list_of, shown
from sim.scenario.quantities import Time


class Gaps(Section):
    """Given gaps: the first flow comes after the first gap."""

    kind: Literal["gaps"] = "gaps"
    gap: Time | None = key(None, "the same gap between all arrivals")
    gaps: list_of(Time, "gaps", least=1) | None = key(None, "each gap, in order; the list's end is the end")

    @model_validator(mode="after")
    def _one(self) -> Gaps:
        if self.gap is None and self.gaps is None:
            raise absent("gap", "one gap for all (gap: 10us) or a list (gaps: [1us, 2us])")
        if self.gap is not None and self.gaps is not None:
            raise fault("give either gap or gaps, not both", "gap")
        return self


class Uniform(Section):
    """Any two different hosts, equally likely."""

    kind: Literal["uniform"] = "uniform"

    def word(self) -> str:
        return self.kind


class Permutation(Section):
    """A fixed random partner for each host; the sender is drawn for each flow."""

    kind: Literal["permutation"] = "permutation"

    def word(self) -> str:
        return self.kind


class RackSkewed(Section):
    """A share of the flows stays below the sender's edge switch."""

    kind: Literal["rack_skewed"] = "rack_skewed"
    local: float = key(0.5, "share of flows that stay below one edge switch", ge=0, le=1)


class Fixed(Section):
    """One pair for all flows."""

    kind: Literal["fixed"] = "fixed"
    src: str = key(says="name of the sending host")
    dst: str = key(says="name of the receiving host")


class Gravity(Section):
    """Pairs by the product of their masses: what a host's switch can send to other switches, shared by its hosts."""

    kind: Literal["gravity"] = "gravity"

    def word(self) -> str:
        return self.kind


def _bare_pairs(word: str) -> dict[str, Any]:
    if word not in PAIRS.models:
        raise ValueError(f"unknown pairs {shown(word)}{nearest(word, PAIRS.models)}")
    return {"kind": word}


PAIRS = Kinds(
    "pairs",
    {"uniform": Uniform, "permutation": Permutation, "rack_skewed": RackSkewed, "fixed": Fixed, "gravity": Gravity},
    (),
    _bare_pairs,
)
