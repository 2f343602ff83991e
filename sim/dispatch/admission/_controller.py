"""What every admission policy's controller can be told; a policy adds its own parameters."""

from __future__ import annotations

from typing import Literal

from sim.dispatch.api import Field, PolicyParams, Time, TimeOrMeasured


class ControllerParams(PolicyParams):
    """``time`` and ``time_per_demand`` model how long the controller thinks; with ``measured`` it is charged what the
    solver took on this machine, and two runs differ.

    The time per demand counts new and present ones. A decision begins when a demand waits and the controller is free,
    but not before ``epoch`` after the last one began; all that wait then are decided together.
    """

    epoch: Time = Field(0, description="least time between the begins of two decisions; 0: each demand at once")
    paths: int = Field(8, ge=1, le=1000, description="candidate paths of a pair: the k shortest")
    by: Literal["hops", "delay", "inverse_capacity"] = Field("hops", description="what is short")
    protection: Literal["none", "link", "node"] = Field("none", description="a second path that is disjoint")
    strict: bool = Field(False, description="priorities class by class, instead of as weights")
    preempt: bool = Field(False, description="an admitted demand makes room for one of higher priority; implies strict")
    moves: int = Field(0, ge=-1, description="admitted demands that a decision may move to other paths; -1: all")
    time: TimeOrMeasured = Field(0, description="time of a decision, or `measured`")
    time_per_demand: Time = Field(0, description="time of a decision for each demand in it")
