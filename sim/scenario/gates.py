"""The key ``admission`` of workloads whose transfers ask for a path of a rate before they start."""

from __future__ import annotations

from pydantic import model_validator

from sim.scenario.demands import MOST_PRIORITY, MOST_RATE
from sim.scenario.fields import Section, fault, key, words
from sim.scenario.quantities import Rate, Time


class Gate(Section):
    """What each transfer asks the admission controller for, and what becomes of it where there is no room."""

    rate: Rate = key(says="bandwidth to be reserved; nothing is sent faster", gt=0, le=MOST_RATE)
    full: words("hold", "reject") = key("hold", "where there is no room: wait for it, or give up")
    priority: int = key(1, "as that of demands: larger is more important", ge=1, le=MOST_PRIORITY)
    patience: Time | None = key(None, "hold: gives up after this; absent: never", gt=0)

    @model_validator(mode="after")
    def _waits(self) -> Gate:
        if self.patience is not None and self.full == "reject":
            raise fault("'patience' belongs to full: hold; what is rejected does not wait", "patience")
        return self

    def idle(self) -> set[str]:
        return {"patience"} if self.full == "reject" else set()
