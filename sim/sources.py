"""What the workloads of a scenario send, before anything runs: transfers, blocks of flows, a collective's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from models import connection_matrix, demands, flow_files, offered, sizes
from models.structure import describe
from models.topology import Topology
from models.units import PS_PER_SECOND
from sim.dispatch.api import Exchange
from sim.dispatch.groups import layout_of, schedule_of
from sim.processes import arrivals, pairs
from sim.processes import demands as asked
from sim.processes.matrix import Transfer, Trigger, of_connections, together
from sim.processes.plan import Plan, exchange_of, priced, profile_named
from sim.rng import Streams
from sim.scenario.arriving import Fixed, Gravity, RackSkewed
from sim.scenario.demands import ChoiceRate, ConstantHold, ConstantRate, UniformRate
from sim.scenario.demands import Demands as DemandsSpec
from sim.scenario.load import Loaded
from sim.scenario.workloads import Cdf, Collective, Constant, Exponential, Named
from sim.scenario.workloads import Flows as FlowsSpec
from sim.scenario.workloads import Matrix as MatrixSpec

_LONGEST_GAP = 2**59  # ps


class Drawn(NamedTuple):
    """Flows over time. ``endless``: they have no end of their own. ``expected`` bytes in all, where it can be told."""

    blocks: Iterator[arrivals.Block]
    endless: bool
    expected: float | None
    load: float | None  # the load that the workload is given, if it is


def hosts_of(item: Collective, topology: Topology) -> list[int]:
    """The group's hosts in order of rank."""
    return list(range(topology.hosts)) if item.group == "all" else list(item.group)


def messages_of(item: Collective, loaded: Loaded, topology: Topology) -> Exchange:
    """The schedule of one round, between the ranks counted from the root."""
    policy, params = loaded.dispatch["collective"]
    hosts = hosts_of(item, topology)
    layout = layout_of(topology, [*hosts[item.root :], *hosts[: item.root]])
    return exchange_of(*schedule_of(policy.module.Policy(params), item.op, len(hosts), item.size, layout))


def plan_of(item: Collective, loaded: Loaded, topology: Topology) -> Plan:
    """The same with what messages and launches cost."""
    policy, params = loaded.dispatch["collective"]
    hosts = hosts_of(item, topology)
    layout = layout_of(topology, [*hosts[item.root :], *hosts[: item.root]])
    phased = bool(getattr(policy.module.Policy(params), "launches_phases", False))
    exchange = messages_of(item, loaded, topology)
    return priced(exchange, layout, profile_named(item.messages), launches_phases=phased)


def transfers_of(
    item: MatrixSpec, index: int, loaded: Loaded, topology: Topology, streams: Streams
) -> tuple[list[Transfer], dict[int, Trigger]]:
    """The flows of a pattern or a ``.cm`` file, and the triggers between them."""
    if item.file is not None:
        return of_connections(connection_matrix.read(loaded.beside(item.file)))
    ends = pairs.pattern(
        str(item.pattern), topology.hosts, streams.generator(f"matrix/{index}"),
        by=item.by or 0, senders=item.senders, receivers=item.receivers,
    )  # fmt: skip
    return together(ends, int(item.size or 0), item.start), {}


def flows_of(item: FlowsSpec, index: int, loaded: Loaded, topology: Topology, streams: Streams) -> Drawn:
    """The flows of a file, or of an open loop."""
    if item.file is not None:
        table = flow_files.read(loaded.beside(item.file), topology)
        blocks = arrivals.listed_flows(table.start, table.src, table.dst, table.size)
        return Drawn(blocks, False, int(table.size.sum()), None)
    distribution = _distribution(item.sizes, loaded)
    gaps = _gaps(item.arrivals, distribution.mean(), topology)
    listed = getattr(item.arrivals, "gaps", None)
    count = item.count if listed is None else min(len(listed), item.count or len(listed))
    blocks = arrivals.draw_flows(
        streams.generator(f"arrivals/{index}"), gaps, _pairs(item.pairs, index, topology, streams), distribution,
        count=item.count, until=item.until,
    )  # fmt: skip
    endless = item.count is None and item.until is None and listed is None
    return Drawn(
        blocks, endless, None if count is None else count * distribution.mean(), getattr(item.arrivals, "load", None)
    )


class DrawnDemands(NamedTuple):
    """Demands over time. ``endless``: some never come or go of themselves. ``total``: all, where it is known."""

    blocks: Iterator[asked.Block]
    endless: bool
    total: int | None
    load: float | None  # the load that the workload is given, if it is


def demands_of(item: DemandsSpec, index: int, loaded: Loaded, topology: Topology, streams: Streams) -> DrawnDemands:
    """The demands of a file, or drawn ones."""
    if item.file is not None:
        table = demands.read(loaded.beside(item.file), topology)
        return DrawnDemands(asked.listed_demands(table), bool((table.hold < 0).any()), len(table.id), None)
    spec: Any = item.arrivals
    drawn = _pairs(item.pairs, index, topology, streams)
    bandwidth, hold = _bandwidth(item.bandwidth), _hold(item.hold)
    gap = demand_gap(item, index, topology, streams)
    gaps = _gaps(spec, 0.0, topology) if gap is None else arrivals.PoissonGaps(gap)
    names = ("bandwidth", "hold", "priority")
    rngs = asked.Rngs(
        streams.generator(f"arrivals/{index}"),
        streams.generator(f"pairs/{index}/drawn"),
        *(streams.generator(f"demands/{index}/{name}") for name in names),
    )
    listed = getattr(spec, "gaps", None)
    total = item.count if listed is None else min(len(listed), item.count or len(listed))
    blocks = asked.draw_demands(
        rngs, gaps, drawn, bandwidth, hold, item.shares(),
        delay_bound=-1 if item.delay_bound is None else item.delay_bound, count=item.count, until=item.until,
    )  # fmt: skip
    ends = item.count is not None or item.until is not None or listed is not None
    return DrawnDemands(blocks, hold is None or not ends, total, getattr(spec, "load", None))


def demand_gap(item: DemandsSpec, index: int, topology: Topology, streams: Streams) -> float | None:
    """Mean gap in ps at which demands offer the load that is given; None without. ValueError: none can be offered."""
    load = getattr(item.arrivals, "load", None)
    if load is None:
        return None
    hold, pairs_of = _hold(item.hold), _pairs(item.pairs, index, topology, streams)
    assert hold is not None
    hops, capacity = offered.mean_hops(topology, pairs_of.row), offered.fabric_rate(topology)
    if not hops:
        raise ValueError("no path leads over a link between switches, so there is no load; give a rate")
    seconds = hold.mean() / PS_PER_SECOND
    gap = PS_PER_SECOND / offered.arrivals_per_second(load, _bandwidth(item.bandwidth).mean(), seconds, hops, capacity)
    if gap > _LONGEST_GAP:
        raise ValueError(f"at this load a demand comes every {gap / PS_PER_SECOND:g} s; the clock ends after 106 days")
    return gap


def _bandwidth(spec: Any) -> asked.Amounts:
    if isinstance(spec, ConstantRate):
        return asked.Choice((spec.rate,))
    if isinstance(spec, UniformRate):
        return asked.Uniform(spec.low, spec.high)
    if isinstance(spec, ChoiceRate):
        return asked.Choice(spec.of)
    return asked.Exponential(spec.mean)


def _hold(spec: Any) -> asked.Amounts | None:
    if spec is None:
        return None
    return asked.Choice((spec.time,)) if isinstance(spec, ConstantHold) else asked.Exponential(spec.mean)


def _gaps(spec: Any, mean_size: float, topology: Topology) -> arrivals.Gaps:
    if spec.kind == "gaps":
        return arrivals.EqualGaps(spec.gap) if spec.gap is not None else arrivals.ListedGaps(spec.gaps)
    if spec.rate is not None:
        return arrivals.PoissonGaps(float(PS_PER_SECOND / spec.rate))
    capacity = int(topology.nic_rate.sum())
    if spec.load_of == "bisection":
        capacity = describe(topology).bisection
    return arrivals.PoissonGaps(arrivals.poisson_gap(spec.load, capacity, mean_size))


def _pairs(spec: Any, index: int, topology: Topology, streams: Streams) -> pairs.Pairs:
    if isinstance(spec, Fixed):
        return pairs.Fixed(topology.node_index[spec.src], topology.node_index[spec.dst], topology.hosts)
    if isinstance(spec, Gravity):
        return pairs.Gravity(offered.masses(topology))
    if isinstance(spec, RackSkewed):
        return pairs.RackSkewed(topology.edge_of_host.tolist(), spec.local)
    if spec.kind == "permutation":
        return pairs.Permutation(topology.hosts, streams.generator(f"pairs/{index}"))
    return pairs.Uniform(topology.hosts)


def _distribution(spec: Any, loaded: Loaded) -> sizes.SizeDistribution:
    if isinstance(spec, Named):
        return sizes.named(spec.name)
    if isinstance(spec, Constant):
        return sizes.Constant(spec.size)
    if isinstance(spec, Exponential):
        return sizes.Exponential(spec.mean)
    assert isinstance(spec, Cdf)
    return sizes.read_cdf(loaded.beside(spec.file))
