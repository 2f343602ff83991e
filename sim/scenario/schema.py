"""The scenario: every key with its meaning, unit, default and where the default comes from.

Times are ps, sizes bytes, rates bit/s once loaded. Names of policies are checked by the door (``load.py``).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from sim.scenario.clusters import Topology
from sim.scenario.events import Event
from sim.scenario.fields import Section, fault, key, list_of, mapping_of, words
from sim.scenario.moe import Gpus
from sim.scenario.quantities import Time, TimeOrAuto
from sim.scenario.switches import LinkChange, Switch
from sim.scenario.transports import Transport
from sim.scenario.workloads import Workload

ENGINES = ("packet", "fluid", "reference", "ideal")
PACKET_ENGINES = ("packet", "reference")
NAME = r"[a-z0-9_-]+"
ACK = 64  # bytes


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
    request: Any = key("round_robin", "the replica of a request", "the default of reverse proxies")
    elsewhere: ClassVar[dict[str, str]] = {"transport": "fabric.transport"}


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
