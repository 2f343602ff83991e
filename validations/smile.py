"""Two levels of All2All against one, beside SMILE's paper."""

from __future__ import annotations

from benchmarks.reproduce import smile as ours
from validations._row import Found, Row

TITLE = "Two levels of All2All (SMILE)"
KIND = "published"
SOURCE = (
    "He et al., arXiv 2212.05191: 2.5 times the training throughput of Switch Transformer, 3.7 billion parameters, "
    "16 nodes of 8 A100"
)
ABOUT = """\
`scenarios/smile.yaml`. Messages cost what EFA's do by their size (UCCL), nothing is fitted to the paper. Held: on 16
nodes two levels are at least twice as fast with small messages, and slower with large ones. The layer's speed-up
stands beside the paper's training throughput, whose tokens a GPU are not known, and so is reported only.
[More](moe.md#two-levels-of-all2all-smile).
"""
FIGURES = ("smile.png",)


def run(quick: bool) -> Found:
    small, large = ours.gains((16,), (1, 256), "efa_size_only")[0]
    rows = [
        Row("16 nodes, 1 MB a GPU", "time of one level over two", 2.0, float(small), side="at least"),
        Row("16 nodes, 256 MB a GPU", "time of one level over two", 1.0, float(large), side="at most"),
    ]
    for profile, words in ours.PROFILES.items():
        for tokens in (512,) if quick else ours.TOKENS:
            given = f"workload.0.messages={profile}"
            one, two = (ours.layer(variant, tokens, given) for variant in ("switch", "smile"))
            case = f"{tokens:,} tokens a GPU, {words}"
            rows.append(Row(case, "speed-up of a layer", ours.PUBLISHED, one.time_us / two.time_us))
    return Found(rows)
