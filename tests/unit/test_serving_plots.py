"""Pictures of requests, their curves over a sweep, measured requests beside simulated ones, comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import run_sim
from analysis.compare.metrics import default, parse
from analysis.load import Results, load
from analysis.plots import plot_results, plot_sweep, serving, serving_curves
from analysis.report.charts import Charts
from analysis.report.pack import Packer
from analysis.validate import read, validate
from analysis.validate.verdict import Validation
from models.errors import InputError
from tests.unit import served


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.write_single(tmp_path_factory.mktemp("served") / "out")


def test_pictures_of_a_run_and_of_variants(single: Path, tmp_path: Path) -> None:
    assert {"request_latency", "replica_load"} <= {path.stem for path in plot_results(single)}
    many = load(served.write_policies(tmp_path / "out", 200)).runs()
    for draw in (serving.latency, serving.over_time):
        figure = draw(many)
        assert figure is not None
        assert len(figure.legends[0].get_texts()) == (3 if draw is serving.latency else 4)


def test_lines_of_latency_are_shares_of_those_injected(single: Path) -> None:
    figure = serving.latency(load(single).runs())
    assert figure is not None
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.split(" (")[0] for label in labels] == ["chat", "code"], "a single run is told by class"
    run = load(single)
    table = run.frame("requests", ["class", "status"])
    chat = table[table["class"] == "chat"]
    ends = figure.axes[2].lines[0].get_ydata()
    assert ends[-1] == pytest.approx((chat["status"] == "finished").mean())


def test_many_replicas_are_a_band(tmp_path: Path) -> None:
    folder = served.write_single(tmp_path / "out", served.crowd(200, replicas=12))
    figure = serving.over_time(load(folder).runs())
    assert figure is not None
    assert [len(ax.collections) for ax in figure.axes] == [1, 1, 1]
    assert [len(ax.lines) for ax in figure.axes] == [1, 1, 1]


def test_curves_against_the_offered_rate(tmp_path: Path) -> None:
    for policy, slow in served.POLICIES.items():
        for rate in (5, 10, 20, 30, 38):
            crowd = served.crowd(120, rate, slow=slow)
            served.write_single(tmp_path / f"{policy}-{rate}", crowd, policy=policy)
    runs = [load(folder) for folder in sorted(tmp_path.iterdir())]
    figure = serving_curves.against_rate(runs)
    assert figure is not None
    assert [ax.get_title("left") for ax in figure.axes if ax.get_visible()][:2] == ["TTFT", "TPOT"]
    assert "knee" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert serving_curves.against_rate(runs[:1]) is None


SWEPT = """name: served
engine: ideal
fabric: {topology: {kind: star, hosts: 2}}
gpus: {kind: a100_sxm}
workload:
  - kind: requests
    model: llama-3.1-8b
    replicas: 2
    arrivals: {kind: poisson, rate: 40/s}
    prompt: 400
    output: 30
    targets: {ttft: 400ms}
    engine: {cost: {kind: linear, step: 5ms, prefill_token: 20us, decode_sequence: 100us}}
    count: 120
"""


def test_a_sweep_has_goodput_and_latency_curves(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(SWEPT)
    vary = ["--vary", "dispatch.request=round_robin,least_requests", "--vary", "workload.0.arrivals.rate=20/s,60/s"]
    out = tmp_path / "out"
    assert run_sim.main(["sweep", str(tmp_path / "served.yaml"), *vary, "--workers", "1", "--out", str(out), "-q"]) == 0
    index = pd.read_parquet(out / "index.parquet")
    assert {"request_classes.goodput_per_s.all", "requests.ttft_ms.p99", "requests.good.mean"} <= set(index)
    assert index["request_classes.offered_per_s.all"].tolist() == pytest.approx([20, 60, 20, 60], rel=0.25)
    assert [path.name for path in plot_sweep(out)] == ["curves.png"]
    assert plot_sweep(out, figures=["request_classes.goodput_per_s.all"])


def test_links_that_nobody_used_have_no_picture(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(SWEPT)
    out = tmp_path / "out"
    assert run_sim.main([str(tmp_path / "served.yaml"), "--out", str(out), "--no-plots", "-q"]) == 0
    assert load(out).rows("series")
    assert {path.stem for path in plot_results(out)} == {"request_latency", "replica_load", "gpu_load"}
    charts = Charts(load(out).runs(), Packer()).all()
    assert {chart["section"] for chart in charts} == {"requests", "replicas", "gpus"}


def test_metrics_of_a_comparison(single: Path) -> None:
    (metric,) = parse(["requests.ttft_ms.p99"])
    assert not metric.larger_is_better
    assert parse(["requests.good.mean"])[0].larger_is_better
    assert str(default(load(single))) == "requests.e2e_ms.mean"
    with pytest.raises(InputError, match="did you mean 'ttft_ms'"):
        parse(["requests.ttft.p99"])


# -- measured requests


def measured(run: Results, path: Path, *, ids: bool = False, drop: int = 0) -> Path:
    """What was simulated, with TTFT 5 % longer and TPOT as it is, in seconds."""
    frame = run.frame("requests").iloc[drop:]
    columns = {"input_len": frame["prompt_tokens"], "ttft": frame["ttft_ms"] * 1.05e-3, "tpot": frame["tpot_ms"] / 1e3}
    fields = "prompt=input_len, ttft=ttft[s], tpot=tpot[s]"
    if ids:
        columns["number"], fields = frame["id"], f"id=number, {fields}"
    head = f"# spillway: kind=requests\n# map: {fields}\n# bands: ttft mean<10%, tpot mean<3%\n"
    path.write_text(head + pd.DataFrame(columns).to_csv(index=False))
    return path


def verdict(single: Path, path: Path) -> Validation:
    return validate(read(path), {"served": [load(single)]})


@pytest.mark.parametrize("ids", [False, True])
def test_measured_requests_have_their_counterparts(single: Path, tmp_path: Path, ids: bool) -> None:
    found = verdict(single, measured(load(single), tmp_path / "m.csv", ids=ids))
    whole = found.errors[np.isinf(found.errors["to"])].set_index("metric")
    assert whole.loc["ttft_ms", "bias"] == pytest.approx(1 / 1.05 - 1)
    assert whole.loc["tpot_ms", "worst"] == pytest.approx(0, abs=1e-9)
    assert whole.loc["ttft_ms", "corr"] == pytest.approx(1)
    assert found.verdict == "holds"
    assert "corr" in found.text()


def test_other_requests_are_compared_as_distributions(single: Path, tmp_path: Path) -> None:
    found = verdict(single, measured(load(single), tmp_path / "m.csv", drop=1))
    assert not found.measured.matched
    assert "compared as distributions" in found.text()
    assert found.errors["bias"].isna().all()


def test_the_command_draws_them(single: Path, tmp_path: Path) -> None:
    path = measured(load(single), tmp_path / "m.csv", ids=True)
    assert run_sim.main(["validate", "--results", str(single), "--against", str(path), "-q"]) == 0
    assert (single / "plots" / "validation_errors.png").exists()
