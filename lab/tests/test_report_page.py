# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The look of the report: its colours, and the page in a real browser."""

import itertools
import re
from pathlib import Path

import browser
import pytest
import report_data

from lab import cli, report, report_compare, report_plots

pytest.importorskip("jinja2", reason="no jinja2: apt-get install python3-jinja2")

CSS = Path(report.__file__).parent / "page" / "page.css"


# ---- Colours ------------------------------------------------------------------------------------

def palettes():
    """({name: (r, g, b) linear} of light, the same of dark)."""
    def linear(sign):
        parts = [int(sign[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]

    light, dark, *_ = re.findall(r":root \{([^}]*)\}", CSS.read_text(encoding="utf-8"))
    return [{name: linear(sign) for name, sign in re.findall(r"--(\w+): (#\w{6});", block)}
            for block in (light, dark)]


def contrast(one, other):
    high, low = sorted((sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), colour)) + 0.05
                        for colour in (one, other)), reverse=True)
    return high / low


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_text_and_marks_stand_out(palette):
    for name, (ink, least) in itertools.product(
            ("paper", "panel"), [(ink, 4.5) for ink in ("ink", "dim", "link", "care")]
            + [(f"c{slot}", 3) for slot in range(report_plots.SLOTS)]):
        assert contrast(palette[ink], palette[name]) >= least, (ink, name)


# Viénot, Brettel and Mollon 1999: what red- and green-blind readers see, in linear RGB.
BLIND = {"none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
         "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
         "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]}


def lab(rgb):
    """CIE L*a*b*."""
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    x, y, z = (max(sum(w * c for w, c in zip(row, rgb)), 0) / white
               for row, white in zip(rows, (0.9505, 1, 1.089)))
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_the_usual_allocators_are_told_apart_by_colour_blind_readers(palette, kind):
    usual = [slot for slot, name in enumerate(report_compare.ORDER)
             if name not in ("hakmem-speed", "hakmem-lean")]
    seen = {slot: lab([sum(w * c for w, c in zip(row, palette[f"c{slot}"]))
                       for row in BLIND[kind]]) for slot in usual}
    for one, other in itertools.combinations(usual, 2):
        apart = sum((a - b) ** 2 for a, b in zip(seen[one], seen[other])) ** 0.5
        assert apart > 10, (report_compare.ORDER[one], report_compare.ORDER[other], apart)
    marks = [slot % report_plots.SHAPES for slot in usual]
    assert len(set(marks)) == len(marks), "markers differ, too"


# ---- In a browser -------------------------------------------------------------------------------

WIDTH = "return [document.documentElement.scrollWidth, innerWidth]"
OPEN = "for (const d of document.querySelectorAll('details')) d.open = true"
# Tables that can't be seen, or can't be scrolled to their last column.
UNREACHABLE = """
return [...document.querySelectorAll('table')].filter(table => {
	const box = table.closest('.scroll'), seen = box.getBoundingClientRect();
	box.scrollLeft = 1e6;
	const last = table.rows[0].cells[table.rows[0].cells.length - 1].getBoundingClientRect();
	const bad = seen.width < 40 || seen.height < 20 || seen.right > innerWidth + 1
		|| last.right > seen.right + 1 || box.tabIndex !== 0
		|| getComputedStyle(box).overflowX !== 'auto';
	box.scrollLeft = 0;
	return bad;
}).map(table => table.closest('.scroll').getAttribute('aria-label'))"""
# Text that runs out of the page on either side, though nothing scrolls there.
OUTSIDE = """
return [...document.querySelectorAll('h1, h2, h3, p, li, dd, summary, figcaption, .label, .front,'
	+ '.ticks span, .yticks span, .name, .trouble')].filter(e => {
	const r = e.getBoundingClientRect();
	return r.width && (r.left < 0 || r.right > innerWidth);
}).map(e => e.textContent.slice(0, 40))"""
# Ticks of one axis that overlap.
TOUCHING = """
return [...document.querySelectorAll('.ticks, .yticks')].filter(axis => {
	const r = [...axis.children].map(e => e.getBoundingClientRect());
	const up = axis.className === 'yticks';
	return r.some((a, i) => i && (up ? a.bottom > r[i - 1].top + 2 : a.left < r[i - 1].right));
}).map(axis => axis.textContent)"""
BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    """The page of a file of every kind."""
    path = tmp_path_factory.mktemp("report")
    assert cli.run(["report", *report_data.everything(path), "-o", str(path / "page.html")]) == 0
    return path / "page.html"


@pytest.fixture(scope="module")
def chromium():
    if browser.missing():
        pytest.skip(browser.missing())
    with browser.Browser() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, height", [(390, 844), (1440, 900)], ids=["phone", "desktop"])
def test_the_page_in_a_browser(page_path, chromium, width, height, scheme):
    chromium.requests(page_path), chromium.log("browser")
    chromium.open(page_path, width, height, scheme)
    assert chromium.run(BACKGROUND) == {"light": "rgb(252, 252, 251)",
                                        "dark": "rgb(22, 24, 27)"}[scheme]
    for script in ("", OPEN):
        chromium.run(script)
        scroll, inner = chromium.run(WIDTH)
        assert inner == width and scroll <= inner
        assert chromium.run(OUTSIDE) == []
    assert chromium.run("return document.querySelectorAll('table').length") > 20
    assert chromium.run(UNREACHABLE) == []
    assert chromium.run(TOUCHING) == []
    first, *more = chromium.requests(page_path)
    assert first == page_path.as_uri()
    assert [url for url in more if not url.startswith("data:")] == []
    assert chromium.log("browser") == []
