"""Use and queue of every link over time: what the samples add up to, and how many there are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import run_sim
from sim import link_samples
from sim.link_samples import LinkSamples
from sim.network.protocol import LinkState

SCENARIO = """name: series
engine: {engine}
fabric: {{topology: {{kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}}}
workload: [{{kind: collective, op: all_to_all, size: {size}}}]
telemetry: {{interval: {interval}}}
"""


@pytest.mark.parametrize(
    ("engine", "interval", "size"),
    [("packet", "auto", "400KB"), ("packet", "1s", "400KB"), ("fluid", "1us", "400KB"), ("fluid", "1ms", "400MB")],
)
def test_utilisation_times_time_is_the_bytes_of_each_link(
    engine: str, interval: str, size: str, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO.format(engine=engine, interval=interval, size=size))
    assert run_sim.main([str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--no-plots", "-q"]) == 0
    series, links = (pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("link_series", "links"))
    times = series["time_us"].unique()
    took = dict(zip(times, np.diff(times, prepend=0), strict=True))
    share = (series["utilisation"] * series["time_us"].map(took)).groupby(series["link"]).sum()
    expected = links.set_index("link")
    found = share * expected["rate_gbps"] * 1e3 / 8
    assert found.reindex(expected.index).to_numpy() == pytest.approx(expected["bytes"].to_numpy(), rel=1e-6, abs=1)
    assert len(times) == (1 if interval == "1s" else len(times)) > 0
    longest = series.groupby("link")["queue_bytes"].max().reindex(expected.index)
    assert (longest <= expected["queue_max_bytes"]).all()


def world(links: int) -> SimpleNamespace:
    names = [f"a{i}->b{i}" for i in range(links)]
    return SimpleNamespace(links=links, link_name=names, link_rate=np.full(links, 8 * 10**12))


def state(time: int, links: int) -> LinkState:
    return LinkState(np.full(links, time), np.arange(links) * time)  # link i: i bytes a ps


def test_neighbours_are_merged_above_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_samples, "ROWS", 90)
    samples = LinkSamples(world(3))
    for time in range(1, 1001):
        samples.take(time, state(time, 3))
    columns = samples.columns(1001, state(1001, 3))
    times = columns["time_us"][::3] * 1e6
    assert 15 <= len(times) <= 30
    assert len(set(np.rint(np.diff(times))[:-1].tolist())) == 1  # evenly, but for the last at the end of the run
    took = np.diff(times, prepend=0)
    use = columns["utilisation"].reshape(-1, 3)
    assert (use * took[:, None]).sum(axis=0) == pytest.approx([0, 1001, 2002])
    assert columns["queue_bytes"][::3].tolist() == pytest.approx(times.tolist())


def test_samples_that_come_half_as_often_stay_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_samples, "ROWS", 300)
    samples = LinkSamples(world(3))
    time, interval = 0, 1
    for _ in range(3):
        for _ in range(150):
            time += interval
            samples.take(time, state(time, 3))
        samples.slow_down()
        interval *= 2
    times = samples.columns(time, state(time, 3))["time_us"][::3] * 1e6
    assert set(np.rint(np.diff(times)).tolist()) <= {8.0, 16.0, 18.0}  # 18: where the pace changed


def test_a_fabric_of_too_many_links_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_samples, "ROWS", 30)
    samples = LinkSamples(world(2))
    samples.take(1, state(1, 2))
    assert samples.too_many
    assert samples.columns(2, state(2, 2)) == {}
