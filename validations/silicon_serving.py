"""Whole servers in a closed loop, as measured on H100, H200 and B200, against the schedulers and the iteration law."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.architectures import architecture
from models.csv_table import read_table
from models.errors import Problems
from models.hardware import gpu
from models.serving.costs import Setup, costs_of
from models.serving.memory import kv_blocks_of
from sim.engine.serving.book import Book
from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings
from validations._row import Found, Row

TITLE = "Serving on silicon"
KIND = "measured"
SOURCE = (
    "mean TTFT and TPOT of servers in a closed loop of clients, from ai-dynamo/aiconfigurator 095f58a5 (Apache-2.0), "
    "what is left out and why: `models/measured/NOTICE.serving.md`"
)
ABOUT = """\
Each point is a server: a model, 1 to 8 GPUs of one node, an engine, a number of requests in flight. It is simulated
with the schedulers and the calibrated iteration law that scenarios use; nothing is fitted to these runs. A line is the
median of |simulated / measured - 1| over the points of a model, GPU, engine and number format (band: 15 %); further
down is the median of simulated / measured.

InferenceMAX publishes its client and its servers' settings, and both are followed: all clients start at once and send
ten requests each, lengths drawn evenly from 80 to 100 % of those stated, tokens of an iteration as its scripts set
them, no prefix cache, an FP8 KV cache but for SGLang on H200. The others are NVIDIA's own runs, whose client is not
published: lengths are taken as stated, and the lines are held to nothing. (Those of vLLM with llama-3.1-8b hold up to
94,000 prompt tokens a second on one GPU, 1.4 Pflop/s: their prompts were probably cached.)

TPOT is what iterations cost, and holds. TTFT is missed where a server does what the simulation does not: text to
tokens and HTTP; SGLang's scheduler looks for requests once in 10 to 30 iterations; prefill launched kernel by kernel
(vLLM on several B200 and DeepSeek take 40 to 200 ms more, whatever the prompt); what vLLM does between its GEMMs: on
H200 and B200 its prefill takes 20 % longer than the kernels, where TensorRT-LLM's takes up to 10 %. TensorRT-LLM was
told to hold prompts of 1,024 tokens for up to 20 iterations on less than 8 GPUs: those TTFT are left out.
"""
FILE = Path(__file__).resolve().parent.parent / "models" / "measured" / "silicon_serving.csv.gz"
TEXT = ("model", "gpu", "backend", "dtype")
NUMBERS = (
    "tensor_parallel", "data_parallel", "expert_parallel", "prompt_tokens", "output_tokens", "concurrency",
    "inferencemax", "ttft_ms", "tpot_ms", "runs",
)  # fmt: skip
BAND = 0.15
ROUNDS = 10  # requests of each client (InferenceMAX)
LEAST = 0.8  # of the stated lengths (InferenceMAX)
FREE = {"deepseek-v3": 0.75}  # of the memory beside the weights, for TensorRT-LLM's cache; else its default, 0.9
QUICK = "llama-3.1-8b, h200_sxm, vllm, fp8, client not published"
Group = tuple[str, str, str, str, bool]


@dataclass(frozen=True)
class Server:
    """One measured setting; ``known``: an InferenceMAX run."""

    model: str
    gpu: str
    backend: str
    dtype: str
    tensor_parallel: int
    data_parallel: int
    expert_parallel: bool
    prompt: int
    output: int
    concurrency: int
    known: bool
    ttft_ms: float
    tpot_ms: float

    @property
    def group(self) -> Group:
        return self.model, self.gpu, self.backend, self.dtype, self.known

    @property
    def weights(self) -> str:
        """Number format of the linear layers, as the cost model names it."""
        return "fp8" if self.dtype == "fp8_block" else self.dtype

    @property
    def cache(self) -> str:
        plain = self.backend == "sglang" and self.gpu == "h200_sxm"
        return "fp8" if self.known and not plain else "bf16"

    @property
    def token_budget(self) -> int:
        """As the scripts set it; for other runs the engines' default on these GPUs."""
        if not self.known or self.backend == "vllm":
            return 8192
        if self.backend == "sglang":
            return 8192 if self.gpu == "b200_sxm" and self.tensor_parallel == 4 else 32_768
        if self.model == "llama-3.1-70b":
            return 16_384 if self.gpu == "b200_sxm" else self.prompt + self.output + 200
        return (self.concurrency + self.prompt + 127) // 64 * 64

    @property
    def holds(self) -> bool:
        """Whether the server waited for more prompts on purpose."""
        short = self.prompt == self.output == 1024 and self.tensor_parallel < 8
        return short and self.backend == "trtllm" and self.model == "llama-3.1-70b"

    def blocks(self, sequences: int) -> int:
        """KV blocks of 16 tokens, as the engine divides the memory."""
        share = 1.0 if self.backend == "trtllm" else 0.9
        if self.backend == "sglang" and self.known:
            share = 0.95 if self.gpu == "b200_sxm" and self.tensor_parallel == 4 else 0.82
        found = kv_blocks_of(
            architecture(self.model), self.weights, gpu(self.gpu).visible_bytes, share, self.tensor_parallel,
            self.data_parallel, self.expert_parallel, self.token_budget, 16, sequences, self.cache,
        )  # fmt: skip
        return int(found * FREE.get(self.model, 0.9)) if self.backend == "trtllm" else found


def servers() -> list[Server]:
    """All shipped rows."""
    problems = Problems(str(FILE))
    rows = read_table(FILE, (*TEXT, *NUMBERS), (), problems)
    problems.raise_if_any()
    found = []
    for row in rows:
        model, chip, backend, dtype = (row.text[name] for name in TEXT)
        tp, dp, ep, prompt, output, concurrency, known = (int(row.text[name]) for name in NUMBERS[:7])
        ttft, tpot = float(row.text["ttft_ms"]), float(row.text["tpot_ms"])
        layout = (tp, dp, bool(ep), prompt, output, concurrency, bool(known))
        found.append(Server(model, chip, backend, dtype, *layout, ttft, tpot))
    return found


@functools.cache
def _cost(
    model: str, chip: str, tp: int, dp: int, ep: bool, dtype: str, cache: str, budget: int, sequences: int
) -> NDArray[np.float64]:
    """The iteration law of a server; many differ only in their load."""
    return costs_of(
        Setup(
            architecture(model), chip, tp, dp, ep, dtype,
            cache_dtype=cache, token_budget=budget, max_sequences=sequences,
        )
    )  # fmt: skip


def simulate(server: Server) -> tuple[float, float]:
    """Mean TTFT and TPOT in ms over all requests."""
    ranks, budget, sequences = server.data_parallel, server.token_budget, max(128, server.concurrency)
    shape = (server.tensor_parallel, ranks, server.expert_parallel, server.weights, server.cache)
    cost = _cost(server.model, server.gpu, *shape, budget, sequences)
    settings = EngineSettings(budget, sequences, server.blocks(sequences), chunked=server.backend != "sglang")
    count = ROUNDS * server.concurrency
    draw, least = np.random.default_rng(1), LEAST if server.known else 1.0
    prompts, outputs = (
        draw.integers(int(tokens * least), tokens + 1, count) for tokens in (server.prompt, server.output)
    )
    book = Book()
    book.add_block({"prompt": prompts, "output": outputs, "arrival": np.zeros(count, np.int64)})
    engine = Schedulers(book, [settings] * ranks, [cost] * ranks, 1)
    _closed_loop(book, engine, ranks, server.concurrency)
    rows = book.rows[:count]
    spent = (rows["last"] - rows["first"]) / (rows["output"] - 1)
    return float((rows["first"] - rows["arrival"]).mean()) / 1e9, float(spent.mean()) / 1e9


def _closed_loop(book: Book, engine: Schedulers, ranks: int, concurrency: int) -> None:
    """All requests of the book, so many in flight: the next is sent when one ends."""
    for request in range(concurrency):
        engine.add(engine.place(0, ranks), request, 0)
    sent, now = concurrency, 0
    while True:
        length = engine.turn(0, ranks, now)
        more = min(len(engine.told()), book.count - sent)
        for request in range(sent, sent + more):
            book.rows["arrival"][request] = now
            engine.add(engine.place(0, ranks), request, now)
        sent += more
        if not length and more:
            length = engine.turn(0, ranks, now)
        if not length:
            return
        now += length


def run(quick: bool) -> Found:
    groups: dict[Group, list[Server]] = defaultdict(list)
    for server in servers():
        groups[server.group].append(server)
    rows: list[Row] = []
    curves: dict[str, dict[str, list[float]]] = {}
    for group in sorted(groups, key=lambda group: (not group[-1], *group)):
        *names, known = group
        case = ", ".join(names) + ("" if known else ", client not published")
        if quick and case != QUICK:
            continue
        times = [(server, *simulate(server)) for server in groups[group]]
        first = [(server.ttft_ms, ttft) for server, ttft, _ in times if not server.holds]
        each = [(server.tpot_ms, tpot) for server, _, tpot in times]
        for metric, pairs in (("TTFT", first), ("TPOT", each)):
            rows += _rows(case, metric, pairs, BAND if known else None)
            measured, ours = (list(column) for column in zip(*pairs, strict=True))
            curves[f"{metric}: {case}"] = {"x": [_short(one) for one in measured], "y": [_short(one) for one in ours]}
    return Found(sorted(rows, key=lambda row: row.metric), curves)


def _rows(case: str, metric: str, pairs: Sequence[tuple[float, float]], band: float | None) -> list[Row]:
    measured, ours = np.array(pairs).T
    ratio = ours / measured
    error = float(np.median(np.abs(ratio - 1)))
    return [
        Row(case, f"{metric}, median error", None, error, "", band, count=len(pairs)),
        Row(case, f"{metric}, median of simulated / measured", 1.0, float(np.median(ratio))),
    ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def draw(found: Found) -> Any:
    """Simulated against measured, a dot a server."""
    from analysis.plots.style import COLOURS, MARKERS, settings, sheet

    parts = [(name, *name.split(": ", 1)[1].split(", ")[:3]) for name in found.curves]
    models, engines = (sorted({part[at] for part in parts}) for at in (1, 3))
    page = sheet(1, 2, (4.2, 3.8), TITLE, [*models, *engines, "equal"])
    with settings():
        for axis, metric in zip(page.axes[0], ("TTFT", "TPOT"), strict=True):
            for name, model, _, engine in parts:
                if name.startswith(metric):
                    look = {"color": COLOURS[models.index(model)], "marker": MARKERS[engines.index(engine)]}
                    axis.plot(found.curves[name]["x"], found.curves[name]["y"], ls="", ms=3, alpha=0.6, **look)
            low, high = axis.get_xlim()
            axis.plot([low, high], [low, high], color="#999999", lw=0.8)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel(f"measured {metric}, ms")
        page.axes[0, 0].set_ylabel("simulated, ms")
        looks = [(name, {"marker": "o", "color": COLOURS[at]}) for at, name in enumerate(models)]
        looks += [(name, {"marker": MARKERS[at], "color": "#777777"}) for at, name in enumerate(engines)]
        handles = [page.axes[0, 0].plot([], [], ls="", ms=5, label=name, **look)[0] for name, look in looks]
        handles += page.axes[0, 0].plot([], [], color="#999999", lw=0.8, label="equal")
    page.legend(handles)
    return page.figure
