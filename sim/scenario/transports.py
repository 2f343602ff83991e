"""The keys of transports: how hosts send, how losses are found and mended, how the receiver hands over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from models.errors import nearest
from sim.scenario.fields import Kinds, Section, fault, key, mapping_of, one_of, shown
from sim.scenario.fields import words as words_of
from sim.scenario.quantities import Size, SizeAutoOrPacket, SizeAutoOrUnlimited, SizeOrAuto, TimeOrAuto

BIGGEST_PACKET = 10**6  # bytes
BUILT_IN = ("window", "line_rate")  # the others are congestion controls
OWN_KEYS = ("window", "recovery", "rto", "ack_every", "receiver", "reorder")  # of transports with ACKs


class _Receiver(Section):
    def word(self) -> str | None:
        return str(self.kind) if not type(self).model_fields.keys() - {"kind"} else None  # type: ignore[attr-defined]


class Tolerant(_Receiver):
    """Takes packets in any order, as RDMA with direct data placement does."""

    kind: Literal["tolerant"] = "tolerant"


class InOrder(_Receiver):
    """Hands over in order and holds what came too early; what its buffer can't hold is discarded and sent again."""

    kind: Literal["in_order"] = "in_order"
    buffer: SizeAutoOrUnlimited = key("auto", "payload that it can hold; auto: one BDP in whole packets")


class GoBackN(_Receiver):
    """Takes only the next packet; the sender goes back to it."""

    kind: Literal["go_back_n"] = "go_back_n"


def _bare(word: str) -> dict[str, Any]:
    if word not in RECEIVERS.models:
        raise ValueError(f"unknown receiver {shown(word)}{nearest(word, RECEIVERS.models)}")
    return {"kind": word}


RECEIVERS = Kinds("receiver", {"tolerant": Tolerant, "in_order": InOrder, "go_back_n": GoBackN}, (), _bare)


def _packets(value: object) -> object:
    """A number of packets, or a word."""
    if value in ("none", "auto"):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a whole number of packets above 0 is due, or none or auto, not {shown(value)}")
    return value


class Transport(Section):
    """How hosts send, a policy of the level `transport`.

    ``window`` is fixed, with an ACK a packet; ``line_rate`` has no ACKs and is paced by the NIC; the others are
    congestion controls with selective acknowledgements.
    """

    kind: str = key("window", "name of the transport (`list policies`)")
    mtu: Size = key(4096, "payload of a full packet", "McClure et al. 2025: 4096 B", gt=0)
    wire_mtu: Size | None = key(None, "instead of mtu: payload and header of a packet", "absent: mtu + header", gt=0)
    header: Size = key(64, "header of every packet", "htsim (UEC): 64 B")
    window: SizeOrAuto = key(
        "auto",
        "window: payload in flight at most; auto: one BDP of the longest pair's unloaded RTT. Of a congestion control "
        "without a parameter window: bytes on the wire that it may begin with; auto: as it likes",
    )
    recovery: words_of("selective_repeat", "go_back_n") = key("selective_repeat", "what is sent again after a loss")
    rto: TimeOrAuto = key(
        "auto",
        "retransmission timeout; auto: 1 ms of a window (code of Ethereal's authors), and where it can't be told; of a "
        "congestion control 15 us and 6 times what a full buffer takes at a host's rate (uet-htsim)",
    )
    ack_every: SizeAutoOrPacket = key(
        "auto",
        "an ACK is due after so many bytes on the wire, or a packet; auto: packet, or the control's own",
    )
    receiver: one_of(RECEIVERS) = key(Tolerant(), "what becomes of packets that arrive out of order")
    reorder: Annotated[int | Literal["none", "auto"], BeforeValidator(_packets)] = key(
        "auto",
        "a packet counts as lost once one that is so many packets later was acknowledged; none: only timeouts, and cut "
        "packets, say so; auto: none, or the control's own",
    )
    parameters: mapping_of(Any, "the transport's parameters") = key({}, "parameters of the congestion control")

    @model_validator(mode="after")
    def _fits(self) -> Transport:
        given = self.model_fields_set
        if self.wire_mtu is not None and "mtu" in given:
            raise fault("give either mtu (payload) or wire_mtu (payload and header), not both", "wire_mtu")
        if self.wire_mtu is not None and self.wire_mtu <= self.header:
            raise fault(f"wire_mtu must be above the header of {self.header} B", "wire_mtu")
        if self.payload + self.header >= BIGGEST_PACKET:
            raise fault("a packet (mtu and header) must be below 1MB", "wire_mtu" if self.wire_mtu else "mtu")
        if self.rto == 0:
            raise fault("the timeout must be above 0", "rto")
        if self.ack_every == 0:
            raise fault("give a size above 0, or the word packet", "ack_every")
        if self.kind == "line_rate":
            for name in sorted(given & set(OWN_KEYS)):
                raise fault(f"'{name}' belongs to transports with ACKs; line_rate has none", name)
        else:
            self._acknowledged(given)
        return self

    def _acknowledged(self, given: set[str]) -> None:
        if self.kind == "window":
            for name in [name for name in ("ack_every", "reorder") if name in self._meant()]:
                raise fault(f"'{name}' belongs to congestion controls; `constant` is the one with a fixed window", name)
            least, what = self.payload, "payload"
        else:
            least, what = self.payload + self.header, "with its header"
        if self.window != "auto" and self.window < least:
            raise fault(f"the window must hold a full packet ({least} B, {what})", "window")
        if {"recovery", "receiver"} <= given:
            if self.recovery == "go_back_n" and self.receiver.kind != "go_back_n":
                raise fault(f"recovery: go_back_n needs a receiver that does so, not {self.receiver.kind}", "receiver")
            if self.recovery != "go_back_n" and self.receiver.kind == "go_back_n":
                raise fault("receiver: go_back_n takes no selective_repeat", "recovery")
        if self.go_back_n and "reorder" in self._meant():
            raise fault("a receiver that goes back tells gaps itself", "reorder")

    def _meant(self) -> set[str]:
        """Keys of congestion controls that are set to something."""
        return {
            name
            for name, nothing in (("ack_every", ("auto", "packet")), ("reorder", ("auto", "none")))
            if getattr(self, name) not in nothing
        }

    @property
    def payload(self) -> int:
        """Payload of a full packet, bytes."""
        return self.mtu if self.wire_mtu is None else self.wire_mtu - self.header

    @property
    def go_back_n(self) -> bool:
        """Said of the recovery or of the receiver, which means the same."""
        return self.recovery == "go_back_n" or self.receiver.kind == "go_back_n"

    def idle(self) -> set[str]:
        unused = {"wire_mtu"} if self.wire_mtu is None else {"mtu"}
        if self.kind == "line_rate":
            return unused | set(OWN_KEYS)
        if self.kind == "window":
            unused |= {"ack_every", "reorder"}
        if self.recovery == "go_back_n":
            unused |= {"receiver"} if self.receiver.kind != "go_back_n" else set()
        elif self.receiver.kind == "go_back_n":
            unused |= {"recovery"}
        return unused
