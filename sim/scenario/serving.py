"""The keys of the workload ``requests``: who asks what, and the pools of model replicas that answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models.architectures import ARCHITECTURES, Architecture
from models.errors import nearest
from sim.scenario.arriving import Gaps
from sim.scenario.fields import Section, absent, fault, key, list_of, mapping_of, one_of, shown, words
from sim.scenario.quantities import Time
from sim.scenario.request_arrivals import ARRIVALS, Lengths, Think, Trace
from sim.scenario.serving_engine import CountOrAuto, EngineKeys

DTYPES = ("bf16", "fp8")
ROLES = ("mixed", "prefill", "decode")
_HPA = "Kubernetes' horizontal pod autoscaler"
_MOST_REPLICAS = 100_000
# what a pool may say for itself and otherwise takes from the workload
_SHARED = ("model", "tensor_parallel", "data_parallel", "expert_parallel", "dtype", "engine")


def _model(value: object) -> object:
    if not isinstance(value, str) or value not in ARCHITECTURES:
        hint = nearest(value, ARCHITECTURES) if isinstance(value, str) else "; a preset's name is due (list models)"
        raise ValueError(f"unknown model {shown(value)}{hint}")
    return value


Model = Annotated[str, BeforeValidator(_model)]


def _hosts(value: object) -> object:
    """Distinct ranks of GPUs."""
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"a list of GPUs' ranks is due, not {shown(value) if value != [] else 'an empty one'}")
    seen: set[int] = set()
    for index, rank in enumerate(value):
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise fault(f"a rank is a whole number from 0 on, not {shown(rank)}", index)
        if rank in seen:
            raise fault(f"rank {rank} stands in the list twice", index)
        seen.add(rank)
    return tuple(value)


Hosts = Annotated[tuple[int, ...], BeforeValidator(_hosts)]


class Targets(Section):
    """Limits that a good request keeps, all of them together."""

    ttft: Time | None = key(None, "time to first token", gt=0)
    tpot: Time | None = key(None, "mean time per output token after the first", gt=0)
    itl: Time | None = key(None, "longest time between two tokens", gt=0)
    e2e: Time | None = key(None, "time from arrival to last token", gt=0)

    @model_validator(mode="after")
    def _something(self) -> Targets:
        if not self.model_fields_set:
            raise absent("ttft", "targets name ttft, tpot, itl or e2e")
        return self


class RequestClass(Section):
    """A kind of requests with lengths, limits and a priority of its own."""

    name: str = key(says="its name", pattern="^[a-z0-9_-]+$")
    share: float | None = key(None, "share of the requests; absent in all: equal shares", gt=0, le=1)
    prompt: Lengths | None = key(None, "tokens of a prompt; absent: as the workload says")
    output: Lengths | None = key(None, "tokens of an answer; absent: as the workload says")
    targets: Targets | None = key(None, "limits of a good request; absent: the workload's")
    priority: int = key(0, "larger is more important: such requests leave an engine's queue first", ge=0, le=2**14 - 1)


class Tenants(Section):
    """Whose a request is: drawn by popularity, rank to the power of minus the exponent."""

    count: int = key(says="tenants", ge=1, le=10**6)
    exponent: float = key(0.0, "0: all alike", ge=0, le=10)


class Sessions(Section):
    """Conversations: arrivals start one; each later turn asks with the whole conversation so far before its prompt."""

    turns: Lengths = key(says="turns of a session")
    think: Think = key(says="time from the end of a turn to the next: a time, or {kind: exponential, mean: 10s}")


class Prefix(Section):
    """System prompts: a prompt begins with that of one of some groups, drawn by popularity."""

    tokens: int = key(says="tokens of a system prompt, at the head of the prompt", ge=1, le=2**20)
    groups: int = key(1, "different system prompts", ge=1, le=10**6)
    exponent: float = key(0.0, "popularity is rank to the power of minus this; 0: all alike", ge=0, le=10)


class Transfer(Section):
    """The way of the KV cache from where a prompt is prefilled to where it is answered: flows on the fabric."""

    layers_overlapped: bool = key(True, "layer by layer while the prefill runs; false: all at its end")
    parts: int = key(4, "overlapped: groups of layers of a step that leave one by one", ge=1, le=256)

    @model_validator(mode="after")
    def _overlaps(self) -> Transfer:
        if not self.layers_overlapped and "parts" in self.model_fields_set:
            raise fault("'parts' belongs to layers_overlapped: true", "parts")
        return self

    def idle(self) -> set[str]:
        return set() if self.layers_overlapped else {"parts"}


class Autoscale(Section):
    """Replicas that come and go: ceil(running x metric / target) of them, the metric being a mean of those in use."""

    maximum: int = key(says="replicas at most; their GPUs are held ready", ge=1, le=_MOST_REPLICAS)
    minimum: int = key(1, "replicas at least", ge=1)
    metric: words("requests", "waiting", "kv") = key(
        "requests", "requests on a replica, those waiting there, or the share of its KV cache in use"
    )
    target: float = key(says="the metric's value that is aimed at", gt=0)
    interval: Time = key(15 * 10**12, "time between two decisions, 1us at least", _HPA, ge=10**6)
    tolerance: float = key(0.1, "no change while the metric is so close to the target", _HPA, ge=0, lt=1)
    startup: Time = key(60 * 10**12, "time from the decision until a new replica serves: loading weights")
    cooldown: Time = key(300 * 10**12, "replicas go only if this long none of the decisions wanted more", _HPA)

    @model_validator(mode="after")
    def _order(self) -> Autoscale:
        if self.minimum > self.maximum:
            raise fault("minimum is above maximum", "minimum")
        if self.metric == "kv" and self.target > 1:
            raise fault("the metric kv is a share from 0 to 1", "target")
        return self


class PoolKeys(Section):
    """Equal replicas. What a pool does not say of model, parallelism, dtype and engine it takes from the workload."""

    model: Model | None = key(None, "a preset's name (list models)")
    replicas: int = key(1, "copies of the model, at the start where there is autoscale", ge=1, le=_MOST_REPLICAS)
    tensor_parallel: int | None = key(None, "GPUs that share every layer", ge=1, le=1024)
    data_parallel: int | None = key(None, "schedulers of a replica, which step together", ge=1, le=1024)
    expert_parallel: bool | None = key(None, "whether all GPUs of a replica share the experts")
    dtype: words(*DTYPES) | None = key(None, "weights and arithmetic")
    role: words(*ROLES) = key("mixed", "whether it prefills prompts, decodes answers, or both")
    quality: float | None = key(None, "quality of its answers, for policies that choose by it", ge=0, le=1e6)
    hosts: Hosts | None = key(None, "ranks of its GPUs, replica by replica; absent: as the workload says")
    engine: EngineKeys | None = key(None, "its engine, whole: nothing of the workload's then holds")
    autoscale: Autoscale | None = key(None, "replicas that come and go with the load; absent: all are always there")

    @model_validator(mode="after")
    def _between(self) -> PoolKeys:
        auto = self.autoscale
        if auto is not None and not auto.minimum <= self.replicas <= auto.maximum:
            raise fault(f"replicas must be from {auto.minimum} to {auto.maximum}, as autoscale says", "replicas")
        return self


@dataclass(frozen=True)
class Pool:
    """A pool with all that holds for it. ``path``: the keys under which it stands in the workload."""

    name: str
    model: str
    replicas: int  # at the start
    tensor_parallel: int
    data_parallel: int
    expert_parallel: bool
    dtype: str
    role: str
    quality: float | None
    hosts: tuple[int, ...] | None
    engine: EngineKeys
    autoscale: Autoscale | None
    path: tuple[str, ...]

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.model]

    @property
    def gpus(self) -> int:
        """Of one replica."""
        return self.tensor_parallel * self.data_parallel

    @property
    def maximum(self) -> int:
        """Replicas that may run at once."""
        return self.autoscale.maximum if self.autoscale is not None else self.replicas


class Requests(Section):
    """Requests that arrive over time, a router, and replicas of models that answer with continuous batching.

    Either one pool (`model`, `replicas`), or several under `pools`.
    """

    kind: Literal["requests"] = "requests"
    model: Model | None = key(None, "a preset's name (list models); with pools: of those that name none")
    replicas: int | None = key(None, "copies of the model; absent: 1", ge=1, le=_MOST_REPLICAS)
    tensor_parallel: int = key(1, "GPUs that share every layer of a replica", ge=1, le=1024)
    data_parallel: int = key(1, "schedulers of a replica, which step together (experts shared)", ge=1, le=1024)
    expert_parallel: bool = key(False, "whether all GPUs of a replica share the experts, each holding some whole")
    dtype: words(*DTYPES) = key("bf16", "weights and arithmetic")
    engine: EngineKeys = key(EngineKeys(), "the inference engine")
    pools: mapping_of(PoolKeys, "names to pools") = key({}, "several pools, instead of one")
    hosts: Hosts | None = key(None, "ranks of the replicas' GPUs, in the order of the pools; absent: see spread")
    spread: words("packed", "nodes") = key(
        "packed", "packed: GPUs from rank 0 on; nodes: replicas dealt over the nodes (or edge switches) in turn"
    )
    arrivals: one_of(ARRIVALS) = key(says="when requests arrive, or a trace of them")
    prompt: Lengths | None = key(None, "tokens of a prompt: a number, azure_conv, azure_code, or a mapping")
    output: Lengths | None = key(None, "tokens of an answer: the same")
    prompt_limit: int | None = key(None, "longer prompts are cut to this, and counted; absent: none is", ge=1)
    targets: Targets | None = key(None, "limits of a good request; absent: none")
    classes: list_of(RequestClass, "classes") = key((), "kinds of requests; absent: all are alike")
    tenants: Tenants | None = key(None, "tenants; absent: one")
    sessions: Sessions | None = key(None, "conversations of several turns; absent: each request stands alone")
    prefix: Prefix | None = key(None, "system prompts that prompts share; absent: none")
    hash_tokens: CountOrAuto = key(
        "auto", "tokens that one prefix hash covers; auto: 512 in a Mooncake trace, else block_tokens"
    )
    count: int | None = key(None, "requests in all (sessions, where there are such)", ge=1)
    until: Time | None = key(None, "no request (or session) starts after this", gt=0)
    lost: words("reroute", "drop") = key("reroute", "requests on a replica that fails: routed again, or given up")
    transfer: Transfer = key(Transfer(), "KV cache from prefill to decode, where pools divide them")

    @model_validator(mode="after")
    def _pools(self) -> Requests:
        if not self.pools:
            if self.model is None:
                raise absent("model", "a preset's name such as llama-3.1-8b, or pools")
            return self
        if self.replicas is not None:
            raise fault("'replicas' has no effect beside pools: each says its own", "replicas")
        for name, pool in self.pools.items():
            if pool.model is None and self.model is None:
                raise fault("key 'model' is missing: give it here or for the whole workload", "pools", name)
            if pool.hosts is not None and self.hosts is not None:
                raise fault("give hosts here or for the whole workload, not both", "pools", name, "hosts")
        stated = [pool.hosts is not None for pool in self.pools.values()]
        if any(stated) and not all(stated):
            lacks = list(self.pools)[stated.index(False)]
            raise fault("key 'hosts' is missing: other pools name theirs", "pools", lacks)
        roles = {pool.role for pool in self.pools.values()}
        for role, other in (("prefill", "decode"), ("decode", "prefill")):
            if role in roles and not roles & {other, "mixed"}:
                name = next(name for name, pool in self.pools.items() if pool.role == role)
                raise fault(f"no pool has the role {other} (or mixed)", "pools", name, "role")
        return self

    @model_validator(mode="after")
    def _source(self) -> Requests:
        given = self.model_fields_set
        if isinstance(self.arrivals, Trace):
            for name in ("prompt", "output", "sessions", "count"):
                if name in given:
                    where = "arrivals.count limits it" if name == "count" else "the file says it"
                    raise fault(f"'{name}' has no effect beside a trace: {where}", name)
        else:
            for name in ("prompt", "output"):
                if getattr(self, name) is None and not all(getattr(one, name) for one in self.classes or (self,)):
                    raise absent(name, "such as 512, azure_conv or {kind: log_normal, mean: 1000, cv: 1.5}")
        divided = any(pool.role != "mixed" for pool in self.pools.values())
        if "transfer" in given and not divided:
            raise fault("'transfer' belongs to pools of the roles prefill and decode", "transfer")
        return self

    @model_validator(mode="after")
    def _classes(self) -> Requests:
        names = [one.name for one in self.classes]
        for index, one in enumerate(self.classes):
            if one.name in names[:index]:
                raise fault(f"there is a class '{one.name}' already", "classes", index, "name")
            if isinstance(self.arrivals, Trace):
                for name in sorted({"prompt", "output"} & one.model_fields_set):
                    raise fault(f"'{name}' has no effect beside a trace: the file says it", "classes", index, name)
        shares = [one.share for one in self.classes]
        if any(share is not None for share in shares):
            if None in shares:
                raise fault("key 'share' is missing: other classes name theirs", "classes", shares.index(None))
            if abs(sum(shares) - 1.0) > 1e-9:
                raise fault(f"the shares of the classes sum to {sum(shares):g}, not to 1", "classes")
        return self

    def idle(self) -> set[str]:
        pools = self.pools.values()
        stated = {name for name in _SHARED if pools and all(getattr(pool, name) is not None for pool in pools)}
        divided = any(pool.role != "mixed" for pool in pools)
        return stated | (set() if divided else {"transfer"})

    def ends(self) -> bool:
        """Whether arrivals end by themselves."""
        listed = isinstance(self.arrivals, Gaps) and self.arrivals.gaps is not None
        return bool(self.count or self.until or listed or isinstance(self.arrivals, Trace))

    def pool_list(self) -> tuple[Pool, ...]:
        """The pools in order; the short form as one named ``main``."""
        if not self.pools:
            return (self._pool("main", PoolKeys(replicas=self.replicas or 1), ()),)
        return tuple(self._pool(name, pool, ("pools", name)) for name, pool in self.pools.items())

    def _pool(self, name: str, own: PoolKeys, path: tuple[str, ...]) -> Pool:
        shared: dict[str, Any] = {
            field: getattr(self if getattr(own, field) is None else own, field) for field in _SHARED
        }
        rest = {field: getattr(own, field) for field in ("replicas", "role", "quality", "hosts", "autoscale")}
        return Pool(name=name, **shared, **rest, path=path)

    def shares(self) -> list[float]:
        """Of the classes, or of the one class that all requests are of; they sum to 1."""
        if not self.classes:
            return [1.0]
        return [one.share if one.share is not None else 1.0 / len(self.classes) for one in self.classes]

    def class_targets(self) -> list[tuple[str, Targets | None, int]]:
        """(name, limits, priority) of each class; without classes one named ``all``."""
        if not self.classes:
            return [("all", self.targets, 0)]
        return [(one.name, one.targets or self.targets, one.priority) for one in self.classes]
