"""Expert All2All on the simulated fabric: DeepEP's kernels on H800, EFA's rails."""

from __future__ import annotations

from benchmarks.reproduce import all_to_all as ours
from validations._row import Found, Row

TITLE = "All2All of experts: DeepEP, EFA"
KIND = "measured"
SOURCE = (
    "DeepEP's README dd758caf (MIT; H800, a NIC of 400 Gb/s a GPU, hidden 7168, top-8 of 256) and UCCL da914a20 "
    "(Apache-2.0; two p5 nodes on EFA)"
)
ABOUT = """\
One layer of DeepSeek-V3 in `scenarios/all_to_all.yaml` with each library's own message cost, in the fluid engine, and
rows of 64 messages of every GPU along a rail or across. What is read back and what is a prediction: the low-latency
kernels and EFA gave their message costs; the EP8 and EP16 rows of the normal kernels helped to set their rate inside
a node; their EP32 and EP64 rows set nothing. Band: 20 %. [Mixtures of experts](moe.md) has the sweep over tokens and
nodes.
"""
FIGURES = ("all_to_all.png",)


def run(quick: bool) -> Found:
    return Found([_row(one) for one in ours.measured(quick)])


def _row(one: ours.Row) -> Row:
    return Row(one.what, f"{one.part}, {one.unit}", one.measured, one.ours, one.unit, ours.BOUND)
