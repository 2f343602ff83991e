"""Cost models of collectives and All2All kernels: the law by hand, the fits against measurements, their range."""

import json

import numpy as np
import pytest

from analysis.calibrate import all_to_all as fit_all_to_all
from analysis.calibrate import collective as fit_collective
from analysis.calibrate.common import calibrate_file, held_out, shipped_table
from analysis.calibrate.residual import Term, fit
from models.calibrated import fitted, fitted_file, path_of
from models.comms import all_to_all, collective
from models.comms.all_to_all import AllToAllModel
from models.comms.collective import COLLECTIVES, CollectiveModel, law_us
from models.comms.point_to_point import link, links
from models.errors import InputError

NVLINK = ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300")
DEEPEP = ("h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300")
GIB = 1 << 30


def body(system, kind):
    return fitted_file(path_of(system, kind))[system][kind]


def table(**columns):
    rows = max(len(np.atleast_1d(value)) for value in columns.values())
    kinds = {name: object if isinstance(np.atleast_1d(v)[0], str) else np.int64 for name, v in columns.items()}
    return {name: np.broadcast_to(np.array(v, kinds[name]), rows) for name, v in columns.items()}


# ---- the law ----


@pytest.mark.parametrize(
    ("name", "ranks", "nodes", "up", "out", "steps"),
    [
        ("all_reduce", 8, 1, 2 * 7 / 8, 0, 14),
        ("all_gather", 4, 1, 3 / 4, 0, 3),
        ("alltoall", 8, 1, 7 / 8, 0, 7),
        ("all_reduce", 80, 10, 2 * 79 / 80, 2 * 0.9 / 8, 158),  # each of 8 NICs carries its share of the ring
        ("alltoall", 80, 10, 7 / 80, 72 / 80, 79),
        ("reduce_scatter", 10, 10, 0, 0.9, 9),
    ],
)
def test_the_law_counts_steps_and_bytes_of_the_algorithm(name, ranks, nodes, up, out, steps):
    size, launch, hop, link, nic = 1e9, 5.0, 2.0, 400.0, 45.0
    law = np.array([launch, hop, link, 1e-30, 1e-30, 1.0, nic])
    busy = ((size * up / link / 1e3) ** 4 + (size * out / nic / 1e3) ** 4) ** 0.25
    told = law_us(law, COLLECTIVES.index(name), ranks, nodes, size)
    assert told == pytest.approx(launch + hop * steps + busy, rel=1e-9)


def test_a_collective_in_python_is_the_compiled_one():
    model = CollectiveModel(body("h100_sxm", "collective"))
    section = model.sections["alltoall", "node"]
    for ranks, size in ((2, 3000), (3, 70_000), (8, 5 << 20), (6, 1 << 33)):
        x = np.log2(size) - section.start
        curves = section.curves["half"]
        rows = [np.interp(x, np.arange(curves.shape[1]), row) for row in curves]
        apart = ((section.layout - [0, np.log2(ranks)]) ** 2).sum(1)
        weight = 1 / (apart + 1e-4) ** 2
        expected = law_us(section.law, 3, ranks, 1, size) * np.exp(np.dot(rows, weight) / weight.sum())
        assert model.us("alltoall", ranks, size)[0] == pytest.approx(expected, rel=1e-7)


# ---- the shipped fits ----


@pytest.mark.parametrize("system", NVLINK)
def test_collectives_hold_their_stated_errors(system):
    errors = body(system, "collective")["errors"]
    assert errors["random"]["median"] <= 0.08
    assert errors["random"]["p90"] <= 0.25
    blocks = {name: part["median"] for name, part in errors.items() if name not in ("size", "random")}
    assert len(blocks) >= 3
    assert max(blocks.values()) <= 0.12, blocks


@pytest.mark.parametrize("system", DEEPEP)
def test_all_to_all_holds_its_stated_errors(system):
    errors = body(system, "all_to_all")["errors"]
    assert errors["random"]["median"] <= 0.08
    assert errors["random"]["p90"] <= 0.25
    missed = {"without 8 nodes"}  # its slow dispatch is the kernel's tuning at 8 nodes; docs/calibration.md
    blocks = {n: part["median"] for n, part in errors.items() if n not in {"size", "random"} | missed}
    assert max(blocks.values()) <= 0.12, blocks


def test_held_out_rows_of_one_gpu_fitted_here():
    held = held_out("collective", shipped_table("collective", "h200_sxm"), "h200_sxm", seed=5)
    error = np.abs(held.predicted / held.measured - 1)
    assert len(error) > 150
    assert np.median(error) < 0.08
    assert np.quantile(error, 0.9) < 0.25


def test_ten_nodes_reach_the_measured_bus_bandwidth():
    model = CollectiveModel(fitted("h100_sxm", "collective"))
    size = 17_179_868_160
    time, outside = model.us("alltoall", 80, size, "double", nodes=10)
    assert size / time / 1e3 * 79 / 80 == pytest.approx(50.5, rel=0.05)
    assert not outside
    time, _ = model.us("all_reduce", 80, 1 << 30, "double", nodes=10)  # its best, at 1 GiB
    assert (1 << 30) / time / 1e3 * 2 * 79 / 80 == pytest.approx(344.9, rel=0.10)


@pytest.mark.parametrize(
    ("nodes", "dispatch", "combine"), [(1, 39.8, 72.4), (2, 102.1, 186.2), (4, 143.0, 263.3), (8, 166.8, 304.7)]
)
def test_low_latency_kernels_by_nodes(nodes, dispatch, combine):
    model = AllToAllModel(fitted("h100_sxm", "all_to_all"))
    for phase, measured in (("dispatch", dispatch), ("combine", combine)):
        time, outside = model.us("deepep_low_latency", phase, 128, 7168, 8, 256, nodes)
        assert time == pytest.approx(measured, rel=0.10)
        assert not outside


def test_more_never_takes_less_at_large_sizes():
    model = CollectiveModel(fitted("b200_sxm", "collective"))
    for name in ("all_reduce", "all_gather", "reduce_scatter", "alltoall"):
        size = 2.0 ** np.arange(24, 36)
        time, outside = model.rows(name, "half", np.full(12, 8.0), np.ones(12), size)
        assert (np.diff(time) > 0).all()
        assert outside.tolist() == [s > 1 << 29 for s in size]
        assert time[-1] / time[-2] == pytest.approx(2, rel=0.02)  # far outside only bandwidth is left


def test_outside_the_measured_range_is_said():
    model = CollectiveModel(fitted("h200_sxm", "collective"))
    inside = model.us("alltoall", 8, 1 << 20)
    assert not inside[1]
    assert model.us("alltoall", 8, 100)[1]
    assert model.us("alltoall", 16, 1 << 20)[1]
    assert model.us("alltoall", 16, 1 << 20, nodes=2)[1]
    assert model.us("all_reduce", 8, 1 << 20, "double")[1]
    assert not model.us("all_reduce", 8, 1 << 20, "bfloat16")[1]
    assert model.us("alltoall", 1, 1 << 20)[0] > 0
    kernels = AllToAllModel(fitted("h200_sxm", "all_to_all"))
    assert not kernels.us("deepep_normal", "dispatch", 4096, 7168, 8, 256, sms=20)[1]
    assert kernels.us("deepep_normal", "dispatch", 4096, 7168, 8, 256, sms=60)[1]
    assert kernels.us("deepep_normal", "dispatch", 4096, 16384, 8, 256, sms=20)[1]
    assert kernels.us("deepep_normal", "dispatch", 4096, 7168, 8, 256, 4, sms=20)[1]


# ---- predict ----


def test_predict_takes_the_columns_of_the_data_and_of_the_contract():
    fit_body = fitted("h100_sxm", "collective")
    one = collective.predict(table(collective="alltoall", gpus=8, bytes=[1024, GIB], dtype="half"), fit_body)
    two = collective.predict(table(collective="all_to_all", num_gpus=8, bytes=[1024, GIB], dtype="half"), fit_body)
    np.testing.assert_allclose(one.us, two.us)
    assert collective.check(table(collective="alltoall", bytes=[1]))[0][2].startswith("there is no column 'gpus'")
    faults = collective.check(table(collective="alltoall", gpus=[16, 15], nodes=2, bytes=1024))
    assert faults == [(1, "nodes", "15 GPUs don't divide over 2 nodes")]


SHAPE = {"hidden_size": 7168, "num_token": [16, 4096], "num_topk": 8, "num_experts": 256}


def test_without_a_phase_the_answer_is_dispatch_and_combine():
    fit_body = fitted("h100_sxm", "all_to_all")
    both = all_to_all.predict(table(node_num=2, dispatch_sms=20, combine_sms=24, **SHAPE), fit_body)
    parts = [
        all_to_all.predict(table(node_num=2, dispatch_sms=20, combine_sms=24, phase=phase, **SHAPE), fit_body).us
        for phase in ("dispatch", "combine")
    ]
    np.testing.assert_allclose(both.us, parts[0] + parts[1])
    np.testing.assert_allclose(both.more["predicted_dispatch_us"], parts[0])
    np.testing.assert_allclose(both.more["predicted_combine_us"], parts[1])
    assert (both.more["predicted_notify_us"] > 0).all()
    fast = all_to_all.predict(table(node_num=1, **SHAPE), fit_body)  # no SMs: the low-latency kernels
    assert (fast.more["predicted_notify_us"] == 0).all()
    assert fast.us[0] < 50


def test_shapes_that_cannot_be_are_refused():
    faults = all_to_all.check(table(hidden_size=7168, num_token=1, num_topk=[8, 300], num_experts=256))
    assert faults == [(1, "num_topk", "top-k is above num_experts")]
    named = all_to_all.check(table(kernel="deepep_normal", **SHAPE))
    assert len(named) == 2
    assert "needs a column 'sms'" in named[0][2]
    assert len(all_to_all.check(table(hidden_size=7168, num_experts=256))) == 2


def test_a_kernel_that_was_not_measured_is_refused():
    rows = table(moe_ep_size=8, num_token=1, hidden_size=7168, num_topk=8, num_experts=256)
    with pytest.raises(InputError, match="no measured trtllm_two_sided for this hardware; there is deepep_low_latency"):
        all_to_all.predict(rows, fitted("h100_sxm", "all_to_all"))
    with pytest.raises(InputError, match="no measured deepep_low_latency dispatch_notify"):
        all_to_all.predict(table(phase="dispatch_notify", **SHAPE), fitted("h100_sxm", "all_to_all"))


def test_tensorrt_rows_are_answered_by_their_operation():
    shipped = shipped_table("all_to_all", "gb200")
    kept = (shipped["kernel"] == "trtllm_two_sided") & (shipped["moe_dtype"] == "fp8") & (shipped["moe_ep_size"] == 8)
    kept &= shipped["num_token"] == 3072
    at = dict(zip(shipped["phase"][kept], shipped["time_us"][kept], strict=True))
    measured = [at[phase] for phase in ("prepare", "dispatch", "combine")]
    rows = table(
        op_name=["alltoall_prepare", "alltoall_dispatch", "alltoall_combine"],
        kernel_source="NVLinkTwoSided",
        moe_dtype="fp8",
        num_tokens=3072,
        hidden_size=7168,
        topk=8,
        num_experts=256,
        moe_ep_size=8,
    )
    answer = all_to_all.predict(rows, fitted("gb200", "all_to_all"))
    np.testing.assert_allclose(answer.us, measured, rtol=0.05)
    assert not answer.extrapolated.any()
    assert answer.us[1] == answer.more["predicted_dispatch_us"][1]


# ---- fitting ----


def test_residual_curves_follow_the_data_and_fade_without():
    x = np.repeat(np.linspace(0, 5, 11), 4)
    group = np.tile([0, 1], 22)
    truth = np.where(group == 1, 0.2, 0.0) + 0.1 * np.sin(x)
    (curves,) = fit(truth, [Term(group, 2, x, np.arange(0.0, 21.0), 0.3, 0.2)])
    assert np.interp(2.5, np.arange(21), curves[1]) == pytest.approx(0.2 + 0.1 * np.sin(2.5), abs=0.02)
    assert abs(curves[1, 20]) < abs(curves[1, 5])


def test_one_outlier_does_not_bend_a_curve():
    x = np.repeat(np.arange(6.0), 5)
    left = np.full(30, 0.1)
    left[12] = 2.0
    (curves,) = fit(left, [Term(np.zeros(30, np.int64), 1, x, np.arange(6.0), 0.3, 0.2)])
    np.testing.assert_allclose(curves[0], 0.1, atol=0.03)


def test_a_log_is_calibrated_and_asked_about(tmp_path):
    """A user's nccl-tests log on an unknown GPU: 10 us + bytes at 20 GB/s of bus bandwidth comes back."""
    rank = "".join(f"#  Rank {i} Group 0 Pid {i} on host device {i} [0x0{i}] Acme GPU\n" for i in range(4))
    sizes = 1 << np.arange(10, 28)
    lines = "".join(f"{s} {s // 2} half none -1 {10 + s * 0.75 / 20e3:.2f} 1 1 0 1 1 1 0\n" for s in sizes)
    log = tmp_path / "run.log"
    log.write_text(f"# Collective test starting: alltoall_perf\n# nThread 1\n# Using devices\n{rank}{lines}")
    out = tmp_path / "acme.json"
    text = calibrate_file("collective", str(log), str(out))
    assert "acme_gpu" in text
    model = CollectiveModel(json.loads(out.read_text())["systems"]["acme_gpu"]["collective"])
    for size in (3000, 100_000, 3_000_000, 50_000_000):
        assert model.us("alltoall", 4, size)[0] == pytest.approx(10 + size * 0.75 / 20e3, rel=0.06)


def test_published_deepep_tables_are_read_as_they_are(tmp_path):
    path = tmp_path / "ll.csv"
    path.write_text(
        "system,node_num,hidden_size,num_token,num_topk,num_experts,combine_avg_t_us,dispatch_avg_t_us\n"
        "h100_sxm,1,7168,1,8,256,14.4,13.2\nh100_sxm,1,7168,8,8,256,16.5,14.8\n"
    )
    rows = fit_all_to_all.read(path)
    assert rows["phase"].tolist() == ["dispatch"] * 2 + ["combine"] * 2
    assert rows["time_us"].tolist() == [13.2, 14.8, 14.4, 16.5]
    assert set(rows["kernel"]) == {"deepep_low_latency"}
    assert set(rows["system"]) == {"h100_sxm"}
    assert fit_collective.shape(table(collective="alltoall", gpus=8, bytes=[1, 1, 2], dtype="half")).tolist() == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize("name", links())
def test_a_transfer_follows_its_measured_link(name):
    rows = shipped_table("point_to_point", name)
    time, outside = link(name).rows(rows["bytes"].astype(float))
    assert np.median(np.abs(time / rows["time_us"] - 1)) < 0.04
    assert not outside.any()
    assert link(name).us(1 << 30)[1]


def test_an_unknown_link_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'nvlink4'"):
        link("nvlink")
