"""The scenario: every key with its meaning, unit, default and where the default comes from.

Times are ps, sizes bytes, rates bit/s once loaded. Names of policies are checked by the door (``load.py``).
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from sim.scenario.clusters import Topology
from sim.scenario.fields import Section, absent, fault, key, list_of, mapping_of, words
from sim.scenario.moe import Gpus
from sim.scenario.quantities import Rate, Size, SizeOrAuto, SizeOrUnlimited, Time, TimeOrAuto
from sim.scenario.workloads import Workload

ENGINES = ("packet", "fluid", "reference", "ideal")
PACKET_ENGINES = ("packet", "reference")
NAME = r"[a-z0-9_-]+"
ACK = 64  # bytes
BIGGEST_PACKET = 10**6  # bytes


class LinkChange(Section):
    """What is different on one link; what is left out stays as the topology has it."""

    rate: Rate | None = key(None, "rate; absent: the topology's", gt=0)
    delay: Time | None = key(None, "propagation delay; absent: the topology's")

    @model_validator(mode="after")
    def _something(self) -> LinkChange:
        if self.rate is None and self.delay is None:
            raise fault("an override changes rate, delay or both")
        return self


class Ecn(Section):
    """Marking on enqueue: never below kmin, surely from kmax on, linear to pmax in between."""

    kmin: Size = key(says="queue below which no packet is marked")
    kmax: Size = key(says="queue from which every packet is marked")
    pmax: float = key(1.0, "probability of a mark just below kmax", gt=0, le=1)

    @model_validator(mode="after")
    def _order(self) -> Ecn:
        if self.kmin > self.kmax:
            raise fault("kmin is above kmax", "kmin")
        return self


class Switch(Section):
    """Output-queued switches: one queue a port."""

    buffer: SizeOrUnlimited = key(10**6, "queue limit of a port, or the word unlimited")
    ecn: Ecn | None = key(None, "marking; absent: none")
    overflow: words("drop", later=("trim", "pause")) = key("drop", "what happens to a packet that does not fit")


class Transport(Section):
    """How hosts send. ``window``: fixed window with an ACK a packet; ``line_rate``: paced by the NIC, no ACKs."""

    kind: words("window", "line_rate") = key("window", "window or line_rate")
    mtu: Size = key(4096, "payload of a full packet", "McClure et al. 2025: 4096 B", gt=0)
    wire_mtu: Size | None = key(None, "instead of mtu: payload and header of a packet", "absent: mtu + header", gt=0)
    header: Size = key(64, "header of every packet", "htsim (UEC): 64 B")
    window: SizeOrAuto = key("auto", "payload in flight at most; auto: one BDP of the longest pair's unloaded RTT")
    recovery: words("selective_repeat", "go_back_n") = key("selective_repeat", "what is sent again after a loss")
    rto: Time = key(10**9, "retransmission timeout", "code of Ethereal's authors: 1 ms", gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Transport:
        given = self.model_fields_set
        if self.wire_mtu is not None and "mtu" in given:
            raise fault("give either mtu (payload) or wire_mtu (payload and header), not both", "wire_mtu")
        if self.wire_mtu is not None and self.wire_mtu <= self.header:
            raise fault(f"wire_mtu must be above the header of {self.header} B", "wire_mtu")
        if self.payload + self.header >= BIGGEST_PACKET:
            raise fault("a packet (mtu and header) must be below 1MB", "wire_mtu" if self.wire_mtu else "mtu")
        if self.kind == "line_rate":
            for name in sorted(given & {"window", "recovery", "rto"}):
                raise fault(f"'{name}' belongs to kind: window; line_rate has no ACKs", name)
        elif self.window != "auto" and self.window < self.payload:
            raise fault(f"the window must hold a full packet ({self.payload} B)", "window")
        return self

    @property
    def payload(self) -> int:
        """Payload of a full packet, bytes."""
        return self.mtu if self.wire_mtu is None else self.wire_mtu - self.header

    def idle(self) -> set[str]:
        unused = {"window", "recovery", "rto"} if self.kind == "line_rate" else set()
        return unused | ({"wire_mtu"} if self.wire_mtu is None else {"mtu"})


class Fabric(Section):
    """The network."""

    topology: Topology = key(says="nodes and links, by kind")
    links: mapping_of(LinkChange, "link names to changes") = key({}, "overrides: `a-b` both directions, `a->b` one")
    switch: Switch = key(Switch(), "queues of the switches")
    transport: Transport = key(Transport(), "how hosts send")
    convergence_delay: Time = key(
        10**11, "tables react to a link going down or up after this", "switch code of Ethereal's authors: 100 ms"
    )


class Dispatch(Section):
    """One policy a level: a name, or {kind: name, parameter: value}."""

    collective: Any = key("direct", "schedule of a collective operation")
    path: Any = key("ecmp", "a flow's candidate paths", "the default of data-centre switches")
    packet: Any = key("follow_path", "a packet's port at each switch")
    expert: Any = key("static", "who computes which tokens of a mixture of experts", "plain expert parallelism")
    admission: Any = key("greedy", "which demands are admitted, and on which path")
    later = ("request",)


class Event(Section):
    """A link or a switch that goes down or comes up. Packets queued or in flight on it are lost."""

    at: Time = key(says="when")
    link: str | None = key(None, "name of a link (both directions, or one)")
    switch: str | None = key(None, "name of a switch (all its links)")
    set: words("down", "up", later=("degrade", "loss")) = key(says="down or up")
    later = ("host", "replica", "rate", "loss", "every", "for")

    @model_validator(mode="after")
    def _one_target(self) -> Event:
        if self.link is None and self.switch is None:
            raise absent("link", "an event is about a link or a switch")
        if self.link is not None and self.switch is not None:
            raise fault("give either link or switch, not both", "switch")
        return self


class Stop(Section):
    """When a run ends before its work does."""

    time: Time | None = key(None, "end of the run; absent: when all work is done", gt=0)
    stall: Time = key(10**12, "a run in which nothing moves for so long has stalled", gt=0)


class Telemetry(Section):
    """What is noted beside the results."""

    interval: TimeOrAuto = key("auto", "time between two samples; auto: 100 to 200 samples a run")
    links: list_of(str, "link names") = key((), "links sampled one by one, beside the classes of links")
    flow_times: bool = key(True, "whether to note where each flow's time went (tables flow_times and hops)")

    @model_validator(mode="after")
    def _time_passes(self) -> Telemetry:
        if self.interval == 0:
            raise fault("the interval must be above 0", "interval")
        return self


class Scenario(Section):
    """One run, or one run for each variant."""

    name: str = key(says="name of the scenario and of its results folder", pattern=f"^{NAME}$")
    seed: int = key(1, "seed of all random streams", ge=0, lt=2**63)
    policy_stream: int | None = key(
        None, "number of another set of the policies' own random streams; all other streams stay", ge=0, lt=2**63
    )
    engine: words(*ENGINES) = key("packet", "packet, fluid, reference (packets in SimPy, slow) or ideal (no sharing)")
    plugins: list_of(str, "Python files") = key((), "files of own policies, beside the scenario")
    fabric: Fabric = key(says="the network")
    gpus: Gpus = key(Gpus(), "the GPUs behind the hosts")
    dispatch: Dispatch = key(Dispatch(), "the policies")
    workload: list_of(Workload, "workloads", least=1) = key(says="what is sent; several share the fabric")
    events: list_of(Event, "events") = key((), "what goes wrong, and when")
    stop: Stop = key(Stop(), "limits of the run")
    telemetry: Telemetry = key(Telemetry(), "what is noted beside the results")

    @property
    def packets(self) -> bool:
        """Whether the engine knows packets."""
        return self.engine in PACKET_ENGINES
