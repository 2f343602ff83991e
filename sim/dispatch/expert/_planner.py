"""The time that a planner takes, as parameters: a constant, and so much an expert, an expert and rank, a moved part."""

from __future__ import annotations

from sim.dispatch.api import Field, PolicyParams


class Planner(PolicyParams):
    """Microseconds on every rank, between the exchange of the counts and the first transfer."""

    constant_us: float = Field(default=0.0, ge=0, description="For every layer.")
    expert_us: float = Field(default=0.0, ge=0, description="For each expert, where it plans.")
    pair_us: float = Field(default=0.0, ge=0, description="For each expert and rank, where it plans.")
    part_us: float = Field(default=0.0, ge=0, description="For each rank looked at for each part of an expert moved.")

    def cost(self, experts: int, ranks: int, parts: int = 0) -> float:
        """Microseconds of a plan that moves so many parts of experts."""
        return self.constant_us + experts * self.expert_us + ranks * (experts * self.pair_us + parts * self.part_us)
