"""The page of a pick: finalists, roads and fates, and nothing of a file that no pick has written."""

import json

import pytest
import seeded

from svdsweep import report
from svdsweep.search.answer import record
from svdsweep.search.pick import pick
from svdsweep.store.pick import FILE, write_pick
from svdsweep.store.rows import Store


@pytest.fixture
def folder(tmp_path):
    """A pick of 8 seeds at 8 steps, its finalists with videos."""
    runs = seeded.Runs(lambda seed, steps: {"adj_psnr_db": 30.0 + seed, "total_s": 1.0})
    choice = pick(seeded.wish(n=8, keep=2, budget=1.0, steps=8), runs)
    store = Store(tmp_path, "w-1")
    (tmp_path / "videos").mkdir()
    for row in runs.rows.values():
        store.append(row)
        (tmp_path / str(row.values["video"])).write_bytes(b"video")
    write_pick(tmp_path, record(choice, "svdsweep pick --full"))
    return tmp_path


def test_the_page_shows_the_finalists_and_the_road_of_every_seed(folder):
    report.write(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    section = page.partition('<section id="pick">')[2].partition("</section>")[0]
    assert section.count("<video ") == 2
    assert section.index("<b>seed 7</b> 37 dB") < section.index("<b>seed 6</b> 36 dB")
    assert "left out at 2 steps" in section
    assert "rank the 6 seeds of the pilot" in section
    assert "seed 7, 8 steps: adj_psnr_db 37 dB; finalist 1" in section
    assert (folder / "plots" / "pick_roads.png").exists()
    assert "| seed 7 |" in (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_drawing")
def test_what_a_strangers_pick_says_is_text_and_leads_nowhere(folder):
    plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
    plain["roads"][7] |= {"name": "<script>alert(1)</script>", "keys": [None, "0" * 12]}
    plain |= {"by": "<b>\x1b", "answer": ["<img src=x>"]}
    (folder / FILE).write_text(json.dumps(plain), encoding="utf-8")
    report.write(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "no video" in page


@pytest.mark.usefixtures("no_drawing")
def test_a_broken_pick_is_told_and_the_page_is_whole(folder, capsys):
    (folder / FILE).write_text("{", encoding="utf-8")
    report.write(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "pick.json cannot be read" in page
    assert 'id="pick"' not in page
