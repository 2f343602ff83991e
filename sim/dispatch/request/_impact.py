"""What the requests of a replica still cost, in features of which a value is a weighted sum: the workload impact.

The cost of a state is how long its requests stay, summed over them. While n of them share the iterations, prompts of P
tokens delay all of them (n P times the time of a prompt token), and the D tokens that are left to generate take an
iteration each, for the request that gets it. An iteration grows with its sequences and with the context it reads.
Requests beyond what fits wait for the others. So a request that is added costs its own time and what it takes from
those that are there, which is the impact of mixing that Jain et al. estimate (arXiv 2408.13510, section 5.2), here in
seconds and by the learned step law.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.request._latency import CONTEXT, PROMPT, SEQUENCE, STEP

FEATURES = 10
CLASSES = 4  # LL, LH, HL, HH: light or heavy prompt, light or heavy output
# the first three are the estimate itself, with weight 1; the others let the learner differ
GUIDE = np.array([1.0, 1.0, 1.0, *[0.0] * (FEATURES - 3)])

Floats = NDArray[np.float64]


class Limits(NamedTuple):
    """What fits into a replica."""

    sequences: Floats  # [replicas]
    tokens: Floats  # of KV cache


class Load(NamedTuple):
    """The work at each replica [replicas]."""

    requests: Floats
    prompt: Floats  # tokens still to prefill
    output: Floats  # tokens still to generate, as far as they are predicted
    context: Floats  # tokens in the KV cache
    mix: Floats  # [replicas, CLASSES] the router's own requests by class

    def after(self, prompt: int, output: int, context: int, kind: int) -> Load:
        """With one request more at each."""
        mix = self.mix.copy()
        mix[:, kind] += 1
        return Load(self.requests + 1, self.prompt + prompt, self.output + output, self.context + context, mix)

    def demand(self, limits: Limits) -> Floats:
        """Share of the KV cache that the requests need before they are done."""
        return (self.context + self.prompt + self.output) / limits.tokens


def features(load: Load, limits: Limits, law: Floats) -> Floats:
    """[replicas, FEATURES]; times in seconds."""
    requests, prompt = load.requests, load.prompt * law[PROMPT]
    fit = np.minimum(limits.sequences, requests / np.maximum(load.demand(limits), 1e-9))
    batch = np.minimum(requests, fit)
    step = law[STEP] + law[SEQUENCE] * batch + law[CONTEXT] * np.minimum(load.context, limits.tokens)
    decode = load.output * step
    waiting = requests - batch
    # the k-th that waits is let in when k others have ended, each after its mean time over those at work
    queue = 0.5 * waiting * waiting * decode / np.maximum(requests, 1) / np.maximum(fit, 1)
    drained = prompt + decode / np.maximum(batch, 1)
    columns = [requests * prompt, decode, queue, *load.mix.T, drained, prompt, np.ones_like(prompt)]
    return np.stack(columns, axis=1)
