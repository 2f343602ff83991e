"""The picture of a report in the docs: the main scenario's, in an installed Chromium.

python benchmarks/report_picture.py docs/figures/report.png
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import run_sim  # noqa: E402
from analysis.report import write_report  # noqa: E402

_SIZE = (1280, 800)
_SHOWN = "ecmp"  # its uneven links are worth a look
_TIME = 0.9  # of the run


def main(target: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as api:
        out = Path(folder) / "out"
        run_sim.main([str(ROOT / "scenarios" / "leaf_spine.yaml"), "--out", str(out), "--no-plots", "-q"])
        report = write_report(out, Path(folder) / "report.html")
        started = api.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = started.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready=all]")
        _arrange(page)
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.quantize(96, dither=Image.Dither.NONE).save(target, optimize=True)  # a fourth of the size
        started.close()


def _arrange(page: Page) -> None:
    """The busiest link late in the run, and the flow that waited longest at it."""
    page.locator("#run").select_option(label=_SHOWN)
    move = "(slider, share) => { slider.value = share * slider.max; slider.dispatchEvent(new Event('input')); }"
    page.locator("#time").evaluate(move, _TIME)
    page.locator("#busiest button").first.click()
    page.locator("#details button[data-flow]").first.click()
    page.evaluate("scrollTo({ top: document.getElementById('topology').offsetTop - 58, behavior: 'instant' })")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
