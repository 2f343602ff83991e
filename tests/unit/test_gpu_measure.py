"""The microbenchmark program without a GPU: its shapes, loads, tables, time limit, and that it says why it skips.

What computes on a GPU is checked against plain arithmetic where PyTorch is installed.
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from benchmarks.gpu import attention, collectives, gemm, grids, loads, machine, measure, memory, moe, parts, timer
from benchmarks.gpu.record import Budget, Outcome, Table, Timing, first_line, inner_calls, repeats, significant, summary

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "gpu" / "measure.py"
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\")\n"
NO_GPU = '__version__ = "2.11"\nclass version: cuda = "13.0"\nclass cuda: is_available = staticmethod(lambda: False)\n'
NO_CUDA = '__version__ = "2.11+cpu"\nclass version: cuda = None\n'


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        (NO_TORCH, "skipped: PyTorch is not installed (No module named 'torch')\n"),
        (NO_GPU, "skipped: PyTorch 2.11 sees no CUDA GPU\n"),
        (NO_CUDA, "skipped: PyTorch 2.11+cpu is built without CUDA\n"),
    ],
)
def test_without_a_gpu_it_says_why_and_writes_nothing(torch: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "torch.py").write_text(torch)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--quick", "--out", "found"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "stub")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert not (tmp_path / "found").exists()


def test_the_plan_needs_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure.main(["--plan", "--only", "gemm", "launch"]) == 0
    assert capsys.readouterr().out.split() == ["launch", "6", "points", "gemm", "2592", "points"]


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--minutes", "nan"], ["--only", "gem"], ["--cache", "cold"]])
def test_wrong_options(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        measure.main(words)
    assert stop.value.code == 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert "holds no measured.json" in str(measure._prepare(tmp_path))
    assert "is not a folder" in str(measure._prepare(tmp_path / "thesis.txt"))
    (tmp_path / "measured.json").write_text("{}")
    (tmp_path / "gemm.csv").write_text("old")
    assert measure._prepare(tmp_path) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


# -- tables ------------------------------------------------------------------------------------------------------------

COLUMNS_OF_THE_DATA = {
    gemm.COLUMNS: "system,dtype,kernel,m,n,k,time_us,tflops",
    moe.COLUMNS: "model_shape,dtype,hidden_size,inter_size,num_experts,topk,moe_tp_size,moe_ep_size,distribution,"
    "num_tokens,time_us,kernel",
    moe.ACTIVATED_COLUMNS[:3]: "tokens,activated_experts,time_us",
    attention.COLUMNS: "phase,attn_dtype,kv_cache_dtype,head_dim,num_heads,num_key_value_heads,batch_size,isl,kv_len,"
    "time_us,kernel_source",
    collectives.COLUMNS: "system,device,collective,dtype,num_gpus,bytes,time_us,algbw_GBps,busbw_GBps,"
    "nccl_version_reported",
}


@pytest.mark.parametrize("ours", COLUMNS_OF_THE_DATA, ids=lambda columns: columns[0])
def test_tables_have_the_columns_of_the_measured_data(ours: tuple[str, ...]) -> None:
    assert ",".join(ours) == COLUMNS_OF_THE_DATA[ours]


def test_rows_fill_their_columns(tmp_path: Path) -> None:
    line = {"collective": "all_reduce", "dtype": "half", "num_gpus": 8, "bytes": 8_000_000, "time_us": 100.0}
    shape = grids.SHAPES[0]
    rows = [
        (gemm.COLUMNS, gemm.row("h200_sxm", grids.Gemm("fp8", 8, 16, 32), 2.0)),
        (attention.COLUMNS, attention.row(grids.Attention("generation", 32, 8, 4, 1, 100), "torch_sdpa_flash", 3.0)),
        (moe.COLUMNS, moe.row(grids.Moe(shape, 1, 8, "balanced", 64), moe.LOOP, 4.0)),
        (memory.COLUMNS, memory.row(grids.Copy("add", 4096), 5.0)),
        (collectives.COLUMNS, collectives.row("h200_sxm", "NVIDIA H200", "2.27.5", line)),
    ]
    for columns, row in rows:
        with Table(tmp_path / "table.csv", columns, columns[:1]) as table:
            table.add(**row)
    assert rows[0][1]["tflops"] == pytest.approx(2 * 8 * 16 * 32 / 2e-6 / 1e12)
    assert (rows[3][1]["bytes"], rows[3][1]["GBps"]) == (3 * 4096, pytest.approx(3 * 4096 / 5e-6 / 1e9))
    assert rows[4][1]["busbw_GBps"] == pytest.approx(80 * 2 * 7 / 8)  # 80 GB/s of algorithm bandwidth


def test_rows_are_on_disk_at_once_and_in_order_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with Table(path, ("m", "time_us"), ("m",)) as table:
        table.add(m=16, time_us=3.14159265)
        table.add(m=2, time_us=1.0)
        assert path.read_text() == "m,time_us\n16,3.1416\n2,1\n"
        with pytest.raises(KeyError, match="time_us"):
            table.add(m=3)
    with path.open() as file:
        assert list(csv.reader(file)) == [["m", "time_us"], ["2", "1"], ["16", "3.1416"]]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.4157, "12.416"), (829.996, "830"), (1_161_432.2, "1161400"), (0.000041434, "0.000041434"), (9.99996, "10"),
     (7, "7"), ("half", "half")],
)  # fmt: skip
def test_five_digits_and_no_exponent(value: object, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_what_is_no_measurement_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="no measurement"):
        significant(value)


# -- statistics and time -----------------------------------------------------------------------------------------------


def test_median_and_spread() -> None:
    assert summary([10.0, 12.0, 11.0, 50.0, 9.0], 2) == Timing(5.5, pytest.approx(21.5 / 11), 5)
    assert summary([7.0]) == Timing(7.0, 0.0, 1)
    with pytest.raises(ValueError, match="resolution"):
        summary([-1.0, 0.0, 0.5, -2.0])


def test_repeats_and_calls_of_a_sample() -> None:
    assert [repeats(us, 12_000) for us in (1, 1000, 1e6)] == [25, 12, 5]
    assert [inner_calls(us, 1) for us in (1, 100, 1999, 1e6)] == [256, 20, 2, 1]
    assert [inner_calls(us, 6) for us in (1, 100, 1e6)] == [258, 24, 6]  # every set of operands as often


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_parts_share_the_time_and_pass_on_what_they_leave() -> None:
    clock = Clock()
    budget = Budget(60, {"a": 1, "b": 2, "c": 3}, clock)
    assert budget.start("a") == 110
    clock.now = 105  # 5 s early: 55 s for b and c
    assert budget.start("b") == 105 + 22
    assert not budget.over(127)
    clock.now = 130  # 3 s late
    assert budget.over(127)
    assert (budget.start("c"), budget.left(160)) == (160, 30)
    clock.now = 200
    assert Budget(60, {"a": 1}, clock).start("a") == 260
    free = Budget(None, {"a": 1, "b": 1}, clock)
    assert (free.start("a"), free.left(math.inf), free.over(math.inf)) == (math.inf, None, False)


def test_a_part_stops_between_points(tmp_path: Path) -> None:
    clock = Clock()
    bench = parts.Bench("gpu", None, None, Budget(10, {"a": 1}, clock), tmp_path, False)  # type: ignore[arg-type]
    bench.deadline = bench.budget.start("a")
    outcome, seen = Outcome(100), []
    for point in bench.until(range(100), outcome):
        seen.append(point)
        outcome.measure(Timing(1.0, 0.01 * point, 5))
        clock.now += 4
    outcome.fail("out of GPU memory")
    assert seen == [0, 1, 2]
    found = outcome.as_json()
    assert (found["state"], found["measured"], found["planned"]) == ("stopped at the time limit", 3, 100)
    assert (found["spread_median"], found["spread_p90"]) == (0.01, 0.02)
    assert found["not_measured"] == {"out of GPU memory": 1}
    assert json.dumps(found)


def test_errors_in_one_line() -> None:
    assert first_line(RuntimeError("no kernel\nat 0x1\n")) == "RuntimeError: no kernel"
    assert first_line(ValueError()) == "ValueError: "


# -- shapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [True, False])
def test_grids_hold_each_point_once(quick: bool) -> None:
    found = [grids.gemm(["bfloat16"], quick), grids.gemm_sweep(["bfloat16"], quick), grids.attention(quick)]
    found += [grids.memory(quick), grids.collectives(quick), grids.activated(quick), list(chain(*grids.moe(quick)))]
    for points in found:
        assert len(set(points)) == len(points) > 0
        assert list(points) != sorted(points)


def test_any_beginning_of_a_grid_is_a_sample_of_it() -> None:
    points = grids.gemm(["bfloat16", "fp8"], False)
    rows = Counter(point.m for point in points[: len(points) // 4])
    assert len(rows) == 16
    assert min(rows.values()) > 20
    groups = grids.moe(False)
    third = {(group[0].shape.name, group[0].tp, group[0].ep) for group in groups[: len(groups) // 3]}
    assert third == {(group[0].shape.name, group[0].tp, group[0].ep) for group in groups}


def test_grids_stay_within_their_bounds() -> None:
    for point in grids.attention(False):
        assert point.batch * point.queries <= grids.PROMPT_TOKENS
        assert point.kv_len == point.isl or point.phase == "generation"
        assert point.heads % point.kv_heads == 0
    for group in grids.moe(False):
        assert len({(point.shape, point.tp, point.ep) for point in group}) == 1
        assert group[0].shape.experts % group[0].ep == 0
    assert set(grids.SWEEP_M) >= {1, 128, 129, 4352, 4353, 32768}
    assert [grids.group_sizes(gpus) for gpus in (1, 2, 6, 8)] == [[], [2], [2, 4, 6], [2, 4, 8]]
    assert all(some <= tokens * 8 for tokens, some in grids.activated(False))


@pytest.mark.parametrize("copies", [1, 7, 8, 100, 256])
def test_even_loads(copies: int) -> None:
    counts = loads.even(copies, 8)
    assert sum(counts) == copies
    assert max(counts) - min(counts) <= 1
    assert counts[0] == max(counts)


@pytest.mark.parametrize("alpha", [1.01, 1.2])
@pytest.mark.parametrize("tokens", [1, 5, 64, 1000])
@pytest.mark.parametrize(("experts", "top_k", "ranks"), [(8, 2, 8), (128, 8, 4), (256, 8, 1), (8, 8, 2)])
def test_power_law_loads(alpha: float, tokens: int, experts: int, top_k: int, ranks: int) -> None:
    counts = loads.power_law(tokens, experts, top_k, alpha, ranks, loads.random.Random(tokens))
    size = experts // ranks
    shares = [sum(counts[at : at + size]) for at in range(0, experts, size)]
    assert sum(counts) == tokens * top_k
    assert min(counts) >= 0
    assert max(counts) <= tokens  # no token twice with an expert
    assert shares[0] == max(shares)
    name = f"power_law_{alpha}"
    assert loads.draw(name, tokens, experts, top_k, ranks, tokens) == counts[:size]
    assert loads.draw("balanced", tokens, experts, top_k, ranks, 0) == loads.even(tokens * top_k, experts)[:size]


def test_power_law_is_skewed_and_draws_differ() -> None:
    found = [loads.draw("power_law_1.2", 4096, 128, 8, 1, seed) for seed in range(3)]
    assert found[0] != found[1] != found[2]
    assert all(max(counts) > 3 * 4096 * 8 / 128 for counts in found)
    with pytest.raises(ValueError, match="do not divide"):
        loads.draw("balanced", 4, 10, 2, 4, 0)


# -- machine and collectives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "system"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100_sxm"), ("NVIDIA H100 80GB HBM3", "h100_sxm"), ("NVIDIA H200", "h200_sxm"),
        ("NVIDIA H100 PCIe", "h100_pcie"), ("NVIDIA H200 NVL", "h200_nvl"), ("NVIDIA B200", "b200_sxm"),
        ("NVIDIA GB200", "gb200"), ("NVIDIA H800", "h800"), ("NVIDIA GeForce RTX 4090", "rtx_4090"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx_pro_6000"), ("Tesla T4", "tesla_t4"),
    ],
)  # fmt: skip
def test_names_of_gpus(gpu: str, system: str) -> None:
    assert machine.system_name(gpu) == system


def test_clocks_that_cannot_be_read_are_left_out() -> None:
    line = "580.159.03, 1980, 3201, 1980, 3201, 120.53, [N/A], 41"
    assert machine.parse_query(line) == {
        "driver": "580.159.03", "sm_mhz": 1980, "memory_mhz": 3201, "sm_max_mhz": 1980, "memory_max_mhz": 3201,
        "power_w": 120.53, "temperature_c": 41,
    }  # fmt: skip


def test_bytes_of_collectives_are_a_whole_number_a_rank() -> None:
    assert [collectives.elements(512, 2, ranks) for ranks in (2, 6, 8)] == [256, 252, 256]
    assert collectives.elements(2, 2, 8) == 8
    assert [collectives.bus_factor(name, 8) for name in ("all_reduce", "alltoall")] == [1.75, 0.875]


def test_every_part_has_a_plan_and_a_file_of_its_own() -> None:
    assert set(parts.plan(True, ("bfloat16",))) == set(parts.PARTS)
    assert len(set(parts.FILES)) == len(parts.PARTS) + 1
    assert {point.operation for point in grids.memory(True)} == set(memory.TRAFFIC)
    assert gemm.dtypes((8, 0)) == ["bfloat16"]
    assert gemm.dtypes((9, 0)) == ["bfloat16", "fp8"]


# -- what a GPU computes, on the CPU -----------------------------------------------------------------------------------


def test_experts_compute_the_layer() -> None:
    torch = pytest.importorskip("torch")
    shape = grids.Shape("small", 64, 32, 16, 4)
    pool = timer.Pool("cpu", 2**22)
    experts = moe.Experts(shape, 4, 1, pool, "cpu")
    counts = loads.draw("power_law_1.2", 37, 16, 4, 4, 3)
    batch = moe.Batch([0, *counts[1:]], 37, 64, pool, "cpu")
    wanted, at = torch.zeros(batch.tokens, 64), 0
    for expert, count in enumerate(batch.counts):
        assert len(set(batch.token[at : at + count].tolist())) == count
        for copy in range(at, at + count):
            gate, up = (experts.gate_up[expert].float() @ batch.x[batch.token[copy]].float()).split(32)
            result = experts.down[expert].float() @ (torch.nn.functional.silu(gate) * up)
            wanted[batch.token[copy]] += batch.weight[copy].float() * result
        at += count
    for compute in moe.kernels().values():
        assert (compute(experts, batch).float() - wanted).norm() < 0.01 * wanted.norm()


def test_operands_take_turns() -> None:
    torch = pytest.importorskip("torch")
    pool = timer.Pool("cpu", 2**16)
    first, second = pool.take((64, 64)), pool.take((64, 64))
    assert first.data_ptr() != second.data_ptr()
    assert float(first.float().std()) == pytest.approx(1.0, abs=0.05)
    assert not pool.take((8, 8), torch.float8_e4m3fn).float().isnan().any()
    assert timer.Pool("cpu", 2**10, "zeros").take((512,)).abs().max() == 0
    with pytest.raises(ValueError, match="larger than the pool"):
        pool.take((1024, 1024))


def test_attention_is_causal_in_the_prompt_and_grouped() -> None:
    pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend

    pool = timer.Pool("cpu", 2**22)
    prompt = attention.calls(grids.Attention("context", 8, 2, 2, 16, 16), SDPBackend.MATH, pool, lambda size: 2)
    assert len(prompt) == 2
    assert prompt[0]().shape == (2, 8, 16, 128)
    one = attention.calls(grids.Attention("generation", 8, 2, 2, 1, 100), SDPBackend.MATH, pool, lambda size: 1)
    assert one[0]().shape == (2, 8, 1, 128)
