"""The report's file: what it holds, where it may be written, how large it gets. The page is tested in a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_sim
from analysis.load import load
from analysis.report import explore, write_report
from analysis.report.layout import draw
from analysis.report.pack import Packer
from analysis.report.source import read
from models.errors import InputError
from tests.unit import synthetic

SCENARIO = """name: small
fabric: {topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 2}}
workload: [{kind: collective, op: all_to_all, size: 400KB}]
variants: {ecmp: {dispatch.path: ecmp}, spray: {dispatch.path: spray}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.yaml").write_text(SCENARIO)
    assert run_sim.main([str(folder / "small.yaml"), "--out", str(folder / "out"), "--no-plots", "-q"]) == 0
    return folder / "out"


def unpacked(text: str) -> tuple[dict, bytes]:
    """What the page unpacks: the JSON, and the bytes of the arrays."""
    content = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack("<I", content[:4])
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def array(entry: dict, content: bytes) -> np.ndarray:
    """As decode.js: bytes of equal significance lie together."""
    kind = np.dtype("<" + entry["kind"])
    planes = np.frombuffer(content, np.uint8, entry["n"] * kind.itemsize, entry["at"])
    return planes.reshape(kind.itemsize, entry["n"]).T.copy().view(kind).ravel()


def data_of(page: Path) -> tuple[dict, bytes]:
    return unpacked(re.search(r'id="data">([^<]*)<', page.read_text())[1])


@given(st.lists(st.lists(st.integers(-(2**53), 2**53), max_size=20), max_size=4))
def test_whole_numbers_come_back_exactly(columns: list[list[int]]) -> None:
    packer = Packer()
    entries = [packer.add(np.array(column, dtype=np.int64)) for column in columns]
    told, content = unpacked(packer.page({"entries": entries}))
    assert [array(entry, content).astype(np.int64).tolist() for entry in told["entries"]] == columns


def test_null_and_words() -> None:
    packer = Packer()
    told, content = unpacked(packer.page({"t": packer.exact([1e6, np.nan]), "w": packer.words(["a", None, "b", "a"])}))
    assert array(told["t"], content).tolist() == [1e6, -1]
    assert told["w"]["words"] == ["a", "b"]
    assert array(told["w"]["codes"], content).tolist() == [0, -1, 1, 0]


def test_the_parts_of_every_flow_add_up_and_hops_follow_each_other(results: Path, tmp_path: Path) -> None:
    told, content = data_of(write_report(results, tmp_path / "r.html"))
    assert [run["name"] for run in told["runs"]] == ["ecmp", "spray"]
    assert told["runs"][0]["fabric"] == told["runs"][1]["fabric"] == 0
    for run in told["runs"]:
        flows = run["flows"]
        parts = sum(array(entry, content).astype(np.int64) for entry in flows["times"]["parts"].values())
        assert parts.tolist() == array(flows["fct_ps"], content).tolist()
        hops = {name: array(entry, content).astype(np.int64) for name, entry in flows["hops"].items()}
        table = pd.read_parquet(results / run["name"] / "hops.parquet")
        spent = hops["queueing_ps"] + hops["serialisation_ps"] + hops["propagation_ps"]
        for number, (_, part) in enumerate(table.groupby("flow")):
            rows = slice(hops["start"][number], hops["start"][number + 1])
            arrived = hops["arrived_ps"][number] + np.cumsum(spent[rows]) - spent[rows]
            assert part["arrived_us"].to_numpy() == pytest.approx(arrived / 1e6)


def test_same_results_same_bytes_and_nothing_from_a_network(results: Path, tmp_path: Path) -> None:
    first, second = write_report(results, tmp_path / "a.html"), write_report(results, tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    page = re.sub(r'(id="(data|plotly)">)[^<]*', r"\1", first.read_text())
    assert "default-src 'none'" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|XMLHttpRequest|<link|@import|\ssrc=", page)
    assert first.stat().st_size < 3e6


def test_a_report_is_replaced_but_nothing_else(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = run_sim.main(["report", str(results), *words])
        return code, "".join(capsys.readouterr())

    mine = tmp_path / "thesis.html"
    mine.write_text("<!doctype html><p>years of work</p>")
    code, said = run("-o", str(mine))
    assert code == 2
    assert "is no Spillway report" in said
    assert "years of work" in mine.read_text()
    assert run("-o", str(mine), "--force")[0] == 0
    assert run("-o", str(mine))[0] == 0  # now it is one
    for out, word in ((tmp_path, "is a directory"), (tmp_path / "no" / "r.html", "there is no directory")):
        code, said = run("-o", str(out))
        assert code == 2
        assert word in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.html"]


def damage_version(folder: Path) -> None:
    path = folder / "spray" / "summary.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))


def damage_table(folder: Path) -> None:
    (folder / "ecmp" / "hops.parquet").write_bytes(b"PAR1 no")


def damage_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    for name in ("ecmp", "spray"):
        (folder / name / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_version, "has schema 9; this version reads 1"),
        (damage_table, "can't be read as table 'hops'"),
        (damage_manifest, "no results here"),
    ],
)
def test_damaged_results_are_named_and_nothing_is_written(damage, message: str, results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "copy"))
    damage(copy)
    with pytest.raises(InputError, match=re.escape(message)):
        write_report(copy, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(InputError, match="is not a directory with results"):
        write_report(tmp_path / "nowhere", tmp_path / "r.html")


def test_names_of_users_stay_text(results: Path, tmp_path: Path) -> None:
    evil = tmp_path / "<script>alert(1)<!--{{data}}"
    evil.mkdir()
    (evil / "a").symlink_to(results / "ecmp")
    page = write_report(evil, tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;!--{{data}}") == 2


def test_of_many_flows_the_slowest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.data.FLOWS", 400)
    run = load(synthetic.write_single(tmp_path / "run", count=2000, unfinished=10))
    told, content = unpacked((packer := Packer()).page(read(run.folder, packer)))
    flows = told["runs"][0]["flows"]
    assert (flows["started"], flows["kept"]) == (2000, 400)
    kept = set(array(flows["id"], content).tolist())
    table = run.frame("flows")
    slowest = table.sort_values("slowdown", ascending=False)["id"].head(90)
    assert set(slowest) <= kept
    assert set(table[table["status"] == "unfinished"]["id"]) <= kept
    assert flows["hops"] is None
    assert flows["why_no_hops"]


def test_what_was_sprayed_has_no_way_of_its_own() -> None:
    packer = Packer()
    ends = {("a", "s"): 0, ("s", "b"): 1, ("a", "t"): 2, ("t", "b"): 3}
    paths = pd.Series(["a>s>b", "a>s>b a>t>b", "spray:8", None])
    told = explore._ways(paths, ends, None, packer)
    _, content = unpacked(packer.page({}))
    assert array(told["start"], content).tolist() == [0, 2, 6, 6, 6]
    assert array(told["link"], content).tolist() == [0, 1, 0, 1, 2, 3]
    assert array(told["sprayed"], content).tolist() == [0, 0, 8, 0]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants x three windows x two seeds."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "small.yaml").write_text(SCENARIO)
    vary = ["--vary", "fabric.transport.window=4KiB,8KiB,16KiB", "--seeds", "2", "--workers", "1", "-q"]
    assert run_sim.main(["sweep", str(folder / "small.yaml"), *vary, "--out", str(folder / "sweep")]) == 0
    return folder / "sweep"


def test_a_sweep_has_its_cells_curves_and_a_few_runs(swept: Path, tmp_path: Path) -> None:
    assert run_sim.main(["report", str(swept), "-o", str(tmp_path / "r.html"), "-q"]) == 0
    told, content = data_of(tmp_path / "r.html")
    assert (told["kind"], told["count"], len(told["cells"]["rows"])) == ("sweep", 12, 12)
    assert told["cells"]["titles"][:3] == ["variant", "fabric.transport.window", "seed"]
    names = [f"{variant}, window {window}KiB" for window in (4, 8, 16) for variant in ("ecmp", "spray")]
    assert [run["name"] for run in told["runs"]] == names
    curve = told["charts"][0]
    assert curve["x"]["title"] == "fabric.transport.window"
    lines = curve["views"][0]["lines"]
    assert [line["name"] for line in lines] == ["ecmp", "spray"]
    assert array(lines[0]["x"], content).tolist() == [4096, 8192, 16384]


def test_a_comparison_shows_its_certificate(swept: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept, tmp_path / "compare"))
    (folder / "index.parquet").unlink()
    (folder / "plan.json").unlink()
    certificate = {"program": "spillway", "schema": 1, "name": "small", "sentence": "ecmp and spray are identical."}
    (folder / "certificate.json").write_text(json.dumps(certificate))
    (folder / "certificate.md").write_text("# small\n")
    told, _ = data_of(write_report(folder, tmp_path / "r.html"))
    assert told["certificate"]["sentence"] == "ecmp and spray are identical."
    assert told["certificate"]["text"] == "# small\n"
    assert {run["seed"] for run in told["runs"]} == {1}
    assert {run["name"].split(" ")[0] for run in told["runs"]} == {"ecmp", "spray"}
    (folder / "certificate.json").write_text(json.dumps(certificate | {"schema": 2}))
    with pytest.raises(InputError, match="is not a certificate of this version"):
        write_report(folder, tmp_path / "r.html")


# the drawing


def both(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [end for a, b in pairs for end in ((a, b), (b, a))]


def test_tiers_lie_above_each_other_and_scale_up_below() -> None:
    pairs = [(f"host{i}", f"leaf{i // 2}") for i in range(4)] + [("leaf0", "spine0"), ("leaf1", "spine0")]
    pairs += [(f"host{i}", "nvswitch0") for i in range(4)]
    tiers = {"leaf0": "leaf", "leaf1": "leaf", "spine0": "spine", "nvswitch0": "nvswitch"}
    drawing = draw(both(pairs), tiers, [0.5] * 20)
    assert [name for name, _ in drawing.rows] == ["nvswitch", "host", "leaf", "spine"]
    assert [y for _, y in drawing.rows] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-3)
    assert len(drawing.edges) == 20


def test_switches_that_join_each_other_are_no_tiers() -> None:
    pairs = [(f"s{i}", f"s{(i + 1) % 5}") for i in range(5)] + [(f"host{i}", f"s{i}") for i in range(5)]
    drawing = draw(both(pairs), {f"s{i}": "switch" for i in range(5)}, [0.0] * 20)
    assert not drawing.tiered
    assert len(set(drawing.places)) == 10
    assert all(0 <= value <= 1 for place in drawing.places for value in place)


def test_too_many_links_are_drawn_together() -> None:
    pairs = [(f"host{i}", f"leaf{i // 40}") for i in range(1200)]
    pairs += [(f"leaf{i}", f"spine{j}") for i in range(30) for j in range(40)]
    tiers = {f"leaf{i}": "leaf" for i in range(30)} | {f"spine{j}": "spine" for j in range(40)}
    ends = both(pairs)
    drawing = draw(ends, tiers, [1 / (i + 1) for i in range(len(ends))])
    assert len(drawing.edges) == 2000
    assert drawing.tiered
    assert "busiest" in drawing.note
    assert "hosts of a switch" in drawing.note
    joined = next(edge for edge in drawing.edges if len(edge[3]) > 1)
    assert len(joined[3]) == 40


@pytest.mark.slow
def test_the_main_scenario_fits_in_a_mail(tmp_path: Path) -> None:
    scenario = Path(__file__).parents[2] / "scenarios" / "leaf_spine.yaml"
    assert run_sim.main([str(scenario), "--out", str(tmp_path / "main"), "--no-plots", "-q"]) == 0
    page = write_report(tmp_path / "main", tmp_path / "r.html")
    told, _ = data_of(page)
    assert [run["flows"]["kept"] for run in told["runs"]] == [16_256] * 4  # all of them
    assert page.stat().st_size < 8e6
