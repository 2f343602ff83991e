"""The law of All2All kernels, compiled: time of a dispatch or combine by tokens, shape and SMs.

The law, in microseconds, for ``tokens`` a GPU over R GPUs::

    a + a_R log2 R + a_E E/256 + tokens * |(A0 + u (A1 + s A2)) / sms, u_up s/B, u_out s/C, t (8 k/E)^(3/4)|_4

u: copies of a token that leave (low latency: one an expert; else one a rank that holds at least one of its k experts),
u_up of them over the scale-up links, u_out over the NIC (normal kernels: one a node); s: bytes of a copy; the last
term: few experts keep few SMs busy on arrival. |.|_4 is the 4-norm, a smooth maximum. On top lies a fitted residual by
shape, SMs and log tokens. Each node count beyond one is a shape of its own section, with its own law.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.jit import njit

LOW_LATENCY, NORMAL = 0, 1  # the first of ``models.comms.all_to_all.KERNELS``
LAW = ("a_us", "per_doubling_us", "per_256_experts_us", "token_us", "copy_us", "us_per_kB", "scale_up_GBps", "nic_GBps",
       "few_experts_us")  # fmt: skip
NODES_A_TOKEN = 4  # the DeepEP tests route each token to at most four nodes


@njit("Tuple((float64, float64, float64))(int64, float64, float64, float64)", internal=True)
def _copies(kernel: int, ranks: float, nodes: float, topk: float) -> tuple[float, float, float]:
    """Copies of a token: all that leave the token's buffer, over the scale-up links, and over the NIC."""
    if kernel == LOW_LATENCY:
        local = ranks / nodes
        return topk, topk * (local - 1.0) / ranks, topk * (ranks - local) / ranks
    chosen = min(nodes, float(NODES_A_TOKEN))
    reach = ranks / nodes * chosen
    distinct = reach * (1.0 - (1.0 - 1.0 / reach) ** topk)
    up = distinct * (1.0 - nodes / ranks)  # the GPU of the rail already holds its own
    if nodes == 1.0:
        return distinct, up, 0.0
    return distinct, up, chosen * (1.0 - (1.0 - 1.0 / chosen) ** topk) * (nodes - 1.0) / nodes


@njit("float64(float64[::1], int64, float64, float64, float64, float64, float64, float64, float64)")
def law_us(
    law: NDArray[np.float64],
    kernel: int,
    ranks: float,
    nodes: float,
    bytes: float,
    topk: float,
    experts: float,
    sms: float,
    tokens: float,
) -> float:
    """The law alone; ``law`` in the order of ``LAW``, ``bytes`` of one copy of a token."""
    out, up, nic = _copies(kernel, ranks, nodes, topk)
    a = (law[3] + out * (law[4] + bytes * 1e-3 * law[5])) / sms
    b = up * bytes * 1e-3 / law[6]
    c = nic * bytes * 1e-3 / law[7]
    root = np.sqrt(8.0 * topk / experts)
    few = law[8] * root * np.sqrt(root)
    a, b, c, few = a * a, b * b, c * c, few * few
    slope = np.sqrt(np.sqrt(a * a + b * b + c * c + few * few))
    time: float = law[0] + law[1] * np.log2(ranks) + law[2] * experts / 256.0 + tokens * slope
    return time


@njit("void(float64[::1], int64, float64[:,::1], float64[::1])")
def law_array(law: NDArray[np.float64], kernel: int, rows: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """``law_us`` of many rows: ranks, nodes, hidden, element, topk, experts, sms, tokens."""
    for i in range(rows.shape[0]):
        r = rows[i]
        out[i] = law_us(law, kernel, r[0], r[1], r[2] * r[3], r[4], r[5], r[6], r[7])


@njit(
    "float64(float64[::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64, int64, float64, float64, float64,"
    " float64, float64, float64, float64, float64)"
)
def all_to_all_us(
    law: NDArray[np.float64],
    layout: NDArray[np.float64],
    curves: NDArray[np.float64],
    sm_knots: NDArray[np.float64],
    start: float,
    kernel: int,
    ranks: float,
    nodes: float,
    hidden: float,
    element: float,
    topk: float,
    experts: float,
    sms: float,
    tokens: float,
) -> float:
    """Law and residual. ``layout``: log2 of ranks, hidden, top-k, experts and bytes a value, of each measured shape,
    then the same five as they are; ``sm_knots``: log2 of the SMs, and as they are.

    ``curves``: [shapes, SMs, log2 tokens from ``start`` on]. A shape that was not measured takes the curves of the
    others, the nearer the more (fourth power of distance); beyond the measured tokens a curve goes on level.
    ``element`` bytes a value include scales and header.
    """
    x = np.log2(max(tokens, 1.0)) - start
    last = curves.shape[2] - 1
    place = min(max(x, 0.0), float(last))
    left = min(int(place), last - 1)
    share = place - left
    low, high, between = 0, 0, 0.0
    if sm_knots.shape[1] > 1:
        while low < sm_knots.shape[1] - 2 and sm_knots[1, low + 1] <= sms:
            low += 1
        if sms >= sm_knots[1, low + 1]:
            low += 1
        elif sms > sm_knots[1, low]:
            high = low + 1
            between = (np.log2(sms) - sm_knots[0, low]) / (sm_knots[0, high] - sm_knots[0, low])
    measured = -1
    for i in range(layout.shape[0]):
        same = layout[i, 6] == hidden and layout[i, 8] == experts and layout[i, 7] == topk and layout[i, 5] == ranks
        if same and abs(layout[i, 9] - element) < 1e-4:
            measured = i
            break
    # the four knots around the row, and their shares
    c00, c01 = (1.0 - between) * (1.0 - share), (1.0 - between) * share
    c10, c11 = between * (1.0 - share), between * share
    total, weights = 0.0, 1.0
    if measured >= 0:
        i = measured
        total = c00 * curves[i, low, left] + c01 * curves[i, low, left + 1]
        total += c10 * curves[i, high, left] + c11 * curves[i, high, left + 1]
    else:
        weights = 0.0
        at_ranks, at_hidden, at_topk = np.log2(ranks), np.log2(hidden), np.log2(topk)
        at_experts, at_element = np.log2(experts), np.log2(element)
        for i in range(layout.shape[0]):
            apart = 1e-4 + (layout[i, 0] - at_ranks) ** 2 + (layout[i, 1] - at_hidden) ** 2
            apart += (layout[i, 2] - at_topk) ** 2 + (layout[i, 3] - at_experts) ** 2
            apart += (layout[i, 4] - at_element) ** 2
            weight = 1.0 / (apart * apart)
            weights += weight
            here = c00 * curves[i, low, left] + c01 * curves[i, low, left + 1]
            here += c10 * curves[i, high, left] + c11 * curves[i, high, left + 1]
            total += weight * here
    time: float = law_us(law, kernel, ranks, nodes, hidden * element, topk, experts, sms, tokens)
    return time * float(np.exp(total / weights))


@njit(
    "void(float64[::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64, int64, float64[:,::1], float64[::1])"
)
def all_to_all_array(
    law: NDArray[np.float64],
    layout: NDArray[np.float64],
    curves: NDArray[np.float64],
    sm_knots: NDArray[np.float64],
    start: float,
    kernel: int,
    rows: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """``all_to_all_us`` of many rows: ranks, nodes, hidden, element, topk, experts, sms, tokens."""
    for i in range(rows.shape[0]):
        ranks, nodes, hidden, element = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
        topk, experts, sms, tokens = rows[i, 4], rows[i, 5], rows[i, 6], rows[i, 7]
        out[i] = all_to_all_us(
            law, layout, curves, sm_knots, start, kernel, ranks, nodes, hidden, element, topk, experts, sms, tokens
        )
