"""`fastgw demo --report`: the page, what it is made of, and how a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
from deadline import scaled

from fastgw import State
from fastgw.cli import _charts, _report
from fastgw.cli._figures import Summary
from fastgw.errors import UsageError

HELD = Summary(2.0, 4_000, 2_000.0, 4.0, 1.0, 3_000, 1_000, 100, 1, 1, 9, 0, 0, True, 2.5, 48.0)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# What the browser laid out, and the colours it took, written where a dump of the page shows them.
LOOK = """
<script>
const box = e => {
  const r = e.getBoundingClientRect();
  return [r.left, r.top, r.right, r.bottom];
};
const all = (q, from = document) => [...from.querySelectorAll(q)];
const said = {
  width: innerWidth, page: document.documentElement.scrollWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  charts: all("svg").map(svg => ({
    box: box(svg), lines: all(".line", svg).map(box), bars: all(".bar", svg).map(box),
    bands: all(".band", svg).map(box), texts: all("text", svg).map(box),
  })),
  fetched: performance.getEntriesByType("resource").length,
};
document.body.dataset.said = JSON.stringify(said);
</script>
"""


def recorded():
    """A run of two seconds: up at 0.1 s, the traffic from 0.3 s, away for 0.2 s in the middle."""
    recorder = _report.Recorder()
    recorder.ready_at, recorder.traffic_from = 0.1, 0.3
    for step in range(41):
        at = step / 20
        events = int(max(0.0, at - 0.3) * 2_000)
        recorder.points.append(_report.Point(at, events, 1 + at / 100, 40 + 10 * (at > 0.2)))
    recorder.bands.append((1.0, 1.2, "cut, back in 200 ms"))
    for wait_us in (3, 30, 300, 300, 60_000):
        recorder.waited(wait_us / 1e6)
    return recorder


@pytest.fixture
def page(tmp_path):
    target = tmp_path / "report.html"
    _report.write(target, recorded(), HELD)
    return target


def test_the_page_needs_nothing_else(page):
    """No script, and nothing that a browser would fetch: it can be mailed and kept."""
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<script|<link|<img|src=|href=|url\(|@import|https?:", text) == []
    assert len(text) < 40_000
    assert "everything held" in text


def test_a_run_that_did_not_hold_says_so(tmp_path):
    """The verdict is the demo's own."""
    _report.write(tmp_path / "bad.html", _report.Recorder(), HELD.__class__(*[0] * 16))
    assert "this is not as it should be" in (tmp_path / "bad.html").read_text(encoding="utf-8")


def test_a_line_is_broken_where_nothing_is_known():
    """Between two events that are far apart the cost of an event is not guessed."""
    drawn = _charts.line("x", [(0, 1), (1, 2), (2, None), (3, 1), (4, 1)], until=4.0)
    assert drawn.count('class="line"') == 2


def test_a_short_peak_of_a_long_run_is_still_seen():
    """Of neighbours that fall on one place of the chart the highest stays."""
    points = [(at, 100.0 if at == 777 else 1.0) for at in range(5_000)]
    kept = _charts._thinned(points)
    assert (777, 100.0) in kept
    assert len(kept) <= 240


@pytest.mark.parametrize("highest", [0.0, 0.003, 0.9, 1.0, 7.3, 48.0, 20_113.0, 1e9])
def test_an_axis_reaches_above_what_it_shows(highest):
    """Round steps from 0, three to six of them, none far above."""
    ticks = _charts._ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest
    assert len(ticks) <= 6
    assert ticks[-1] - ticks[1] <= max(highest, 1.0)


def test_waits_are_counted_by_powers_of_two():
    """A bin is named by its upper end; empty ones between stay, so that the gap is seen."""
    named = dict(_report._histogram(recorded().waits))
    assert named == {
        "<4 µs": 1, "<8 µs": 0, "<16 µs": 0, "<32 µs": 1, "<64 µs": 0, "<128 µs": 0, "<256 µs": 0,
        "<512 µs": 2, "<1 ms": 0, "<2 ms": 0, "<4 ms": 0, "<8 ms": 0, "<16 ms": 0, "<33 ms": 0,
        "<66 ms": 1,
    }  # fmt: skip
    assert _report._quantiles(recorded().waits).startswith("half within 512 µs")


def test_what_nobody_delivered_is_said():
    """No event, no wait."""
    assert _report._quantiles(_report.Recorder().waits) == "No event was delivered."


def test_a_band_lasts_from_the_first_loss_to_the_last_return():
    """Of two shards that are away at once there is one band; READY at the start is none."""
    recorder = _report.Recorder()
    moves = [
        (0, State.IDENTIFYING, State.READY), (1, State.IDENTIFYING, State.READY),
        (0, State.READY, State.DISCONNECTED), (1, State.READY, State.DISCONNECTED),
        (0, State.RESUMING, State.READY), (1, State.RESUMING, State.READY),
    ]  # fmt: skip
    for shard_id, old, new in moves:
        shard = SimpleNamespace(id=shard_id)
        recorder.status_changed(SimpleNamespace(shard=shard, old=old, new=new))
    ((began, ended, name),) = recorder.bands
    assert began <= ended
    assert name.startswith("cut, back in ")


@pytest.mark.parametrize("where", [".", "missing/page.html"])
def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path, where):
    """Not after it, when the run would be lost."""
    with pytest.raises(UsageError, match=r"--report .*folder"):
        _report.check_target(tmp_path / where)


def test_a_place_that_went_away_during_the_run_is_told(tmp_path):
    """The summary stands above it already; no traceback."""
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        _report.write(tmp_path / "gone" / "report.html", recorded(), HELD)


def test_the_demo_writes_its_page(tmp_path):
    """The guilds of the start, the cut and its end are in it, beside the usual summary."""
    target = tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-m", "fastgw", "demo", "--seconds", "2", "--rate", "1000", "--json",
         "--report", str(target)],
        capture_output=True, text=True, timeout=scaled(90),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["events"] == summary["dropped"] + summary["delivered"]
    text = target.read_text(encoding="utf-8")
    assert f"{summary['events']:,}" in text
    assert "guilds of the start" in text
    assert "cut, back in " in text
    assert text.count("<svg") == 4


def seen(page, *, width=800, dark=False):
    """Let a browser lay the page out; return what it saw and what it complained of."""
    looked_at = page.with_name("looked-at.html")
    text = page.read_text(encoding="utf-8")
    looked_at.write_text(text.replace("</body>", LOOK + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},1500",
         f"--blink-settings=preferredColorScheme={0 if dark else 1}",
         "--dump-dom", looked_at.as_uri()],
        capture_output=True, text=True, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (said,) = re.findall(r'data-said="([^"]*)"', done.stdout)
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(said.replace("&quot;", '"')), errors


def inside(inner, outer):
    left, top, right, bottom = (a - b for a, b in zip(inner, outer, strict=True))
    return left >= -1 and top >= -1 and right <= 1 and bottom <= 1


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
class TestInABrowser:
    """Each looks at what was laid out, not at the text of the page."""

    @pytest.mark.parametrize("width", [800, 500], ids=["desk", "narrow"])
    def test_charts_have_a_size_and_hold_what_they_show(self, page, width):
        """All that the four charts show lies inside of them; no error, no sideways scrolling."""
        said, errors = seen(page, width=width)
        assert errors == []
        assert said["fetched"] == 0
        assert said["page"] <= said["width"]
        rate, cost, memory, waits = said["charts"]
        for chart in said["charts"]:
            left, top, right, bottom = chart["box"]
            assert right - left > 0.9 * (said["width"] - 60) * min(1, 760 / said["width"])
            assert bottom - top > 100
            shapes = chart["lines"] + chart["bars"] + chart["bands"] + chart["texts"]
            assert [shape for shape in shapes if not inside(shape, chart["box"])] == []
        assert [len(chart["lines"]) for chart in (rate, cost, memory)] == [1, 1, 1]
        assert [len(chart["bands"]) for chart in said["charts"]] == [1, 1, 2, 0]
        assert len(waits["bars"]) == 15
        lowest = max(text[1] for text in waits["texts"])
        names = sorted(text for text in waits["texts"] if text[1] > lowest - 1)
        assert len(names) > 5
        assert [a for a, b in pairwise(names) if a[2] > b[0]] == [], "a name over its neighbour"
        band, cut = memory["bands"], rate["bands"][0]
        assert band[0][2] <= band[1][0], "the guilds come before the cut"
        assert cut[2] - cut[0] == pytest.approx(
            0.1 * (652 / 720) * (chart["box"][2] - chart["box"][0]), rel=0.05
        )

    def test_it_is_dark_where_the_reader_wants_it_dark(self, page):
        """Ground and ink change places, in the charts as well."""
        light, _ = seen(page)
        dark, _ = seen(page, dark=True)
        assert light["ground"] == "rgb(255, 255, 255)"
        assert dark["ground"] == "rgb(13, 17, 23)"
        assert light["ink"] != dark["ink"]
