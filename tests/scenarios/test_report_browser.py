"""The report in a browser, opened as a file with the network off: what is seen, clicked, scrubbed and sorted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import run_sim
from analysis.report import write_report
from tests.unit import served, synthetic

CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECTIONS = (
    "Summary Comparison Curves Topology Flows Links Collectives Layers_with_experts Requests Replicas Demands "
    "Decisions_of_admission GPUs Counters Where_it_came_from"
)
SCENARIO = """name: small
fabric:
  topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 4}
  links: {leaf0-spine1: {rate: 100Gbps}}
  switch: {buffer: unlimited}
workload: [{kind: collective, op: all_to_all, size: 1MB}]
variants: {ecmp: {dispatch.path: ecmp}, spray: {dispatch.path: spray}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROME is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROME, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "small.yaml").write_text(SCENARIO)
    assert run_sim.main([str(folder / "small.yaml"), "--out", str(folder / "out"), "--no-plots", "-q"]) == 0
    return write_report(folder / "out", folder / "r.html")


def opened(browser: Any, file: Path, width: int = 1440, height: int = 900) -> tuple[Any, list[str]]:
    """A page, ready, and what went wrong in it: words on the console, requests that leave the file."""
    page = browser.new_context(viewport={"width": width, "height": height}, offline=True).new_page()
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else wrong.append(asked.url)
    )
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=all]")
    return page, wrong


@pytest.fixture(scope="module")
def page(browser: Any, report: Path) -> Any:
    found, wrong = opened(browser, report)
    yield found
    assert wrong == []


def heat(page: Any) -> list[str]:
    return page.eval_on_selector_all(".edges path", "lines => lines.map(line => line.getAttribute('stroke'))")


def scrub(page: Any, sample: int) -> None:
    page.locator("#time").evaluate(
        f"slider => {{ slider.value = {sample}; slider.dispatchEvent(new Event('input')); }}"
    )


def test_every_section_is_there_and_full(page: Any) -> None:
    assert page.title() == "small: Spillway report"
    assert page.locator("html").get_attribute("lang") == "en"
    titles = [title.replace("_", " ") for title in SECTIONS.split()]
    assert page.locator("main section h2").all_inner_texts() == titles
    assert page.locator("nav a").all_inner_texts() == titles
    texts = page.locator("main section").all_inner_texts()
    assert all(len(text.splitlines()) > 1 for text in texts)
    levels = page.eval_on_selector_all("h1,h2,h3,h4", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("#curves .main-svg").count() >= 4  # plotly has drawn


def test_a_click_on_a_link_shows_its_flows_and_on_a_flow_its_hops(page: Any) -> None:
    page.locator("#run").select_option(label="ecmp")
    page.locator("#stage").scroll_into_view_if_needed()
    line = page.locator(".edges path[data-link='leaf0->spine1']")
    place = line.evaluate(
        "line => { const at = line.getPointAtLength(line.getTotalLength() / 3).matrixTransform(line.getScreenCTM());"
        " return [at.x, at.y]; }"
    )
    page.mouse.click(*place)
    details = page.locator("#details")
    assert details.locator("h3").inner_text() == "leaf0->spine1"
    assert "100 Gbit/s" in details.inner_text()
    over = details.locator("button[data-flow]")
    assert over.count() > 0
    waited = details.locator("tbody tr").first.locator("td").nth(1).inner_text()
    assert waited != "0 s"  # the longest wait at this link comes first
    over.first.click()
    assert details.locator("h3").inner_text().startswith("Flow ")
    hops = details.get_by_role("region", name="Hops").locator("tbody tr")
    assert [row.split("\t")[0] for row in hops.all_inner_texts()][1] == "leaf0->spine1"
    parts = details.get_by_role("region", name="Parts of its time")
    shares = [float(text.split()[0]) for text in parts.locator("tbody td:last-child").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    fct = details.locator("dt:text-is('FCT') + dd").inner_text()
    assert parts.locator("tfoot td").first.inner_text() == fct
    assert page.locator(".marks .way").count() == 4
    details.get_by_role("button", name="Back to leaf0->spine1").click()
    assert details.locator("h3").inner_text() == "leaf0->spine1"


def test_scrubbing_changes_the_heat(page: Any) -> None:
    scrub(page, 0)
    whole, samples = heat(page), int(page.locator("#time").get_attribute("max"))
    assert page.locator("#when").inner_text() == "whole run"
    scrub(page, samples // 2)
    busy = heat(page)
    assert busy != whole
    assert re.fullmatch(r"at [\d.]+ µs", page.locator("#when").inner_text())
    page.locator("#time").focus()
    page.keyboard.press("End")
    assert heat(page) != busy
    page.locator("label", has_text="Queue").click()
    assert page.locator("#busiest h3").inner_text().startswith("Longest queues")
    page.locator("label", has_text=re.compile("^Use$")).click()
    scrub(page, 0)


def test_tables_are_sorted_by_their_headings(page: Any) -> None:
    flows = page.locator("#flows")
    heading = flows.locator("thead th").nth(5)

    def times() -> list[float]:
        texts = [row.split("\t")[5] for row in flows.locator("tbody tr").all_inner_texts()]
        return [float(text.split()[0]) for text in texts]

    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert times() == sorted(times(), reverse=True)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert times() == sorted(times())
    page.locator("#filter").fill("host3")
    assert all("host3" in row.split("\t") for row in flows.locator("tbody tr").all_inner_texts())
    page.locator("#filter").fill("")


def test_the_keyboard_reaches_links_and_flows(page: Any) -> None:
    page.locator("#stage svg").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#details h3").inner_text()
    page.locator("#stage svg").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#details h3").inner_text() != first
    page.locator("#busiest button").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('#details') !== null")
    page.locator("#details button[data-flow]").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#details h3").inner_text().startswith("Flow ")


def test_dark_and_light(page: Any) -> None:
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    name = page.locator("#theme").inner_text()
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.locator("#theme").inner_text() != name


def test_a_phone_shows_it_without_sideways_scrolling(browser: Any, report: Path) -> None:
    page, wrong = opened(browser, report, 390, 844)
    page.locator("#busiest button").first.click()
    page.locator("#details button[data-flow]").first.click()
    for width in (390, 360):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert wrong == []


def test_layers_with_experts_alone(browser: Any, tmp_path: Path) -> None:
    synthetic.write_moe(tmp_path / "moe", ["static", "eplb"])
    page, wrong = opened(browser, write_report(tmp_path / "moe", tmp_path / "moe.html"))
    assert page.locator("#no-topology").inner_text() == "The engine has no links."
    assert page.locator("#moe .main-svg").count() >= 1
    assert wrong == []


def test_requests_come_first_where_there_are_any(browser: Any, tmp_path: Path) -> None:
    served.write_single(tmp_path / "served", served.crowd(50))
    page, wrong = opened(browser, write_report(tmp_path / "served", tmp_path / "served.html"), 390)
    assert page.locator("nav a").all_inner_texts()[:5] == ["Summary", "Comparison", "Requests", "Replicas", "Curves"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert wrong == []


def test_a_run_without_samples_or_hops_says_why(browser: Any, tmp_path: Path) -> None:
    synthetic.write_single(tmp_path / "old", count=300)
    page, wrong = opened(browser, write_report(tmp_path / "old", tmp_path / "old.html"))
    assert page.locator("#time").is_disabled()
    page.locator("#flows button[data-flow]").first.click()
    assert "No flow finished, or the engine has no packets." in page.locator("#details").inner_text()
    assert page.locator("#details ol button").count() >= 2  # its way, from the path
    assert wrong == []
