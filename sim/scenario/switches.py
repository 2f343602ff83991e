"""The keys of switches and their ports: buffers, marking, trimming, priority flow control, shared memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, model_validator

from models.errors import nearest
from sim.scenario.fields import Section, fault, key, shown, words
from sim.scenario.quantities import Rate, Size, SizeAutoOrUnlimited, SizeOrAuto, SizeOrUnlimited, Time

HTSIM = "uet-htsim"
NS3 = "switch code of HPCC's authors (ns-3)"


class Ecn(Section):
    """Marking: never below kmin, surely from kmax on, linear to pmax in between. The bare word auto derives both."""

    kmin: SizeOrAuto = key("auto", "queue below which no packet is marked; auto: 20 % of the BDP in packets", HTSIM)
    kmax: SizeOrAuto = key("auto", "queue from which every packet is marked; auto: 80 % of the BDP in packets", HTSIM)
    pmax: float = key(1.0, "probability of a mark just below kmax", gt=0, le=1)
    at: words("enqueue", "dequeue") = key(
        "enqueue", "enqueue: by the queue that a packet finds; dequeue: by the queue behind it when it leaves"
    )
    host_links: bool = key(True, "whether ports to hosts mark too")

    @model_validator(mode="after")
    def _order(self) -> Ecn:
        if (self.kmin == "auto") != (self.kmax == "auto"):
            raise fault("give both kmin and kmax, or neither", "kmin" if self.kmax == "auto" else "kmax")
        if self.kmin != "auto" and self.kmin > self.kmax:
            raise fault("kmin is above kmax", "kmin")
        return self

    @property
    def marks(self) -> bool:
        return True

    def word(self) -> str | None:
        return "auto" if self == Ecn() else None


class NoEcn(Ecn):
    """No marking, whatever the transport would like."""

    @property
    def marks(self) -> bool:
        return False

    def word(self) -> str | None:
        return "none"


def _ecn(value: object) -> object:
    if isinstance(value, str):
        if value not in _ECN_WORDS:
            raise ValueError(f"marking is a mapping or a word, not {shown(value)}{nearest(value, _ECN_WORDS)}")
        return _ECN_WORDS[value]()
    return value


_ECN_WORDS: dict[str, type[Ecn]] = {"auto": Ecn, "none": NoEcn}
EcnOrWord = Annotated[Ecn, BeforeValidator(_ecn)]


class PortEcn(Section):
    """Marking thresholds of one port."""

    kmin: Size = key(says="queue below which no packet is marked")
    kmax: Size = key(says="queue from which every packet is marked")

    @model_validator(mode="after")
    def _order(self) -> PortEcn:
        if self.kmin > self.kmax:
            raise fault("kmin is above kmax", "kmin")
        return self


class LinkChange(Section):
    """What is different on one link; what is left out stays as the topology and the switch have it."""

    rate: Rate | None = key(None, "rate; absent: the topology's", gt=0)
    delay: Time | None = key(None, "propagation delay; absent: the topology's")
    buffer: SizeOrUnlimited | None = key(None, "queue limit of the switch port that sends; absent: the switch's")
    ecn: PortEcn | None = key(None, "marking at that port; absent: the switch's")

    @model_validator(mode="after")
    def _something(self) -> LinkChange:
        if self.rate is None and self.delay is None and self.buffer is None and self.ecn is None:
            raise fault("an override changes rate, delay, buffer or ecn")
        return self


class Shared(Section):
    """Memory that the ports of a switch share."""

    buffer: Size = key(says="bytes of a switch, for the data of all its ports", gt=0)
    alpha: float | None = key(
        None, "a port holds at most alpha times what is free; absent: 1 (with overflow: pause see pause.alpha)", gt=0
    )


class PauseKeys(Section):
    """Priority flow control: when a switch pauses the link over which too much came that it still holds."""

    threshold: SizeOrAuto = key("auto", "bytes that came over a link and are held, at which it is paused; auto: buffer")
    alpha: float | None = key(
        None,
        "instead of a fixed threshold: alpha times what is free of shared memory (1 if neither is given)",
        gt=0,
    )
    resume: Size = key(3072, "bytes below the threshold at which the link may go on", NS3)
    headroom: SizeOrAuto = key(
        "auto", "room for what comes after the pause; auto: as much as can come (two delays at the rate, 3 packets)"
    )

    @model_validator(mode="after")
    def _order(self) -> PauseKeys:
        if self.threshold != "auto" and self.resume > self.threshold:
            raise fault("resume is above the threshold: the link would never go on", "resume")
        return self


class Switch(Section):
    """Output-queued switches: one queue a port, with trimming or priority a second one for control packets."""

    buffer: SizeAutoOrUnlimited = key(
        10**6,
        "queue limit of a port, or unlimited; auto (the default with trim): whole packets, 1 BDP with trim, else 5",
    )
    ecn: EcnOrWord | None = key(None, "marking: a mapping, auto or none; absent: what the transport wants, if anything")
    overflow: words("drop", "trim", "pause") = key(
        "drop", "what happens to a packet that does not fit: dropped, cut to its header, or its sender paused before"
    )
    header_buffer: SizeOrAuto = key("auto", "queue limit of headers and control packets; auto: 2 x buffer", HTSIM)
    bounce: bool = key(False, "whether a header that does not fit goes back to its sender instead of being dropped")
    priority: bool = key(False, "whether control packets (ACKs) go before data; with trim they do")
    shared: Shared | None = key(None, "memory that the ports share; absent: each port has its own")
    pause: PauseKeys = key(PauseKeys(), "priority flow control, with overflow: pause")

    @model_validator(mode="after")
    def _fits(self) -> Switch:
        given = self.model_fields_set
        if self.overflow != "trim":
            for name in sorted(given & {"header_buffer", "bounce"}):
                raise fault(f"'{name}' belongs to overflow: trim", name)
        if self.overflow == "trim" and "priority" in given and not self.priority:
            raise fault("with overflow: trim headers and control packets go first", "priority")
        if self.overflow != "pause" and "pause" in given:
            raise fault("'pause' belongs to overflow: pause", "pause")
        if self.overflow == "pause":
            self._pauses()
        if self.overflow == "trim" and "buffer" not in given:
            return self.with_values({"buffer": "auto"}, f"{HTSIM}: 1 BDP where packets are trimmed")
        return self

    def _pauses(self) -> None:
        if self.shared is None:
            if self.pause.alpha is not None:
                raise fault("alpha is a share of the shared memory: give shared.buffer", "pause", "alpha")
            if self.pause.threshold == "auto" and self.buffer == "unlimited":
                raise fault("an unlimited buffer never pauses: give pause.threshold or shared.buffer", "buffer")
            return
        if self.shared.alpha is not None:
            raise fault("with overflow: pause the share is pause.alpha", "shared", "alpha")
        if self.pause.threshold != "auto" and self.pause.alpha is None:
            raise fault("shared memory has no effect beside a fixed threshold: give pause.alpha", "shared")

    def idle(self) -> set[str]:
        trimming = set() if self.overflow == "trim" else {"header_buffer", "bounce"}
        unused: set[str] = trimming | (set() if self.overflow == "pause" else {"pause"})
        if self.overflow == "trim":
            unused |= {"priority"}
        if self.overflow == "pause" and (self.pause.threshold != "auto" or self.shared is not None):
            unused |= {"buffer"}
        return unused

    @property
    def pause_alpha(self) -> float | None:
        """Share of the shared memory at which a link is paused, or None for a fixed threshold."""
        if self.shared is None:
            return None
        return 1.0 if self.pause.alpha is None else self.pause.alpha
