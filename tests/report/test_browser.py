"""The page in a real headless Chromium: no error, no network, videos play in step, tables sort, text stays text."""

import dataclasses
import importlib.util
import json
import shutil
import time
from pathlib import Path

import made_up
import pytest

from svdsweep.config import Memory
from svdsweep.report import svg, write
from svdsweep.store.rows import Row

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium here: apt-get install chromium chromium-driver"
)
EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(
            "--disable-dev-shm-usage",
            "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={profile}",
        ),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)  # axe-core takes half a minute where cores are busy
    yield driver
    driver.quit()


def spoil(row: Row) -> Row:
    """One job out of memory, one failed, and markup wherever a config or an error can bring text."""
    if row.job.memory.name == "compile" and row.job.motion_bucket_id == 180 and row.job.seed == 1:
        return Row(
            row.job, "oom", error=f"CUDA out of memory {EVIL}", phase="denoise", provenance=made_up.GPU
        )
    if row.job.memory.name == "model_offload" and row.job.motion_bucket_id == 60 and row.job.seed == 0:
        return Row(row.job, "failed", error=f"RuntimeError: {EVIL}", phase="load", provenance=made_up.GPU)
    if row.job.seed == 0:
        return dataclasses.replace(row, notes=[EVIL], provenance={**made_up.GPU, "allocator": EVIL})
    return row


@pytest.fixture(scope="module")
def made_up_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a sweep"
    strategies = {**made_up.STRATEGIES, "evil": Memory(name=EVIL, fused_qkv=True)}
    made_up.sweep(folder, strategies=strategies, videos=True, change=spoil)
    manifest = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    (folder / "sweep.json").write_text(
        json.dumps(manifest | {"name": f"sweep {EVIL}", "settings": [f"x={EVIL}"]}), encoding="utf-8"
    )
    (folder / "logs").mkdir()
    (folder / "logs" / "bench-1-cpu0.log").write_text(EVIL, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(svg, "png", lambda plot, path: None)  # for Markdown, which no browser shows
        return write(folder)


def open_page(browser, page):
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.absolute().as_uri())
    browser.execute_async_script(
        "const done = arguments[0];"
        "const ready = () => document.readyState === 'complete' ? done() : setTimeout(ready, 50);"
        "ready();"
    )


def complaints_and_requests(browser):
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    return browser.get_log("browser"), [u for u in urls if not u.startswith(("file:", "data:"))]


def wait_until(browser, script, seconds=20):
    end = time.monotonic() + seconds
    while not (value := browser.execute_script(f"return {script}")):
        if time.monotonic() > end:
            raise AssertionError(f"never became true: {script}")
        time.sleep(0.1)
    return value


def check_page(browser, page, tiles):
    """What must hold for every page with videos; `tiles` is the number of cells of the first grid."""
    open_page(browser, page)
    wait_until(browser, f"document.querySelectorAll('#grid td').length === {tiles}")
    wait_until(browser, "[...document.querySelectorAll('#grid video')].every(v => v.readyState >= 2)")
    playing(browser)
    sorts(browser)
    said, requests = complaints_and_requests(browser)
    assert said == []
    assert requests == []


def playing(browser):
    """Every video of the grid moves, and in step."""
    browser.execute_script("document.getElementById('grid-play').click()")
    wait_until(browser, "[...document.querySelectorAll('#grid video')].every(v => v.currentTime > 0)")
    browser.execute_script("document.getElementById('grid-play').click()")
    slider = (
        "const s = document.getElementById('grid-time'); s.value = 500; s.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(slider)
    times = wait_until(
        browser,
        "(t => t.every(x => x > 0.1) && t)([...document.querySelectorAll('#grid video')].map(v => v.currentTime))",
    )
    assert max(times) - min(times) < 0.01


def column(browser, table, name):
    cells = (
        "[...arguments[0].tBodies[0].rows].map(r => r.cells[arguments[1]])"
        ".map(cell => cell.dataset.sort ?? cell.innerText)"
    )
    heads = browser.execute_script(
        "return [...arguments[0].tHead.rows[0].cells].map(c => c.innerText)", table
    )
    at = next(i for i, head in enumerate(heads) if head.startswith(name))
    return at, browser.execute_script(f"return {cells}", table, at)


def sorts(browser):
    """A click on a header sorts by number, a second one the other way, and the unknown stays last."""
    table = browser.find_element("css selector", "#strategies table.sortable")
    at, _ = column(browser, table, "latency")
    for reverse in (False, True):
        browser.execute_script("arguments[0].tHead.rows[0].cells[arguments[1]].firstChild.click()", table, at)
        _, shown = column(browser, table, "latency")
        numbers = [float(v) for v in shown if v]
        assert numbers == sorted(numbers, reverse=reverse)
        assert len(numbers) > 1
        assert "" not in shown[: len(numbers)]


@needs_chromium
def test_the_page_works_without_an_error_or_a_request_and_keeps_text_as_text(browser, made_up_page):
    check_page(browser, made_up_page, tiles=3 * 5)
    assert browser.title.startswith("sweep <script>")
    assert browser.execute_script("return document.scripts.length") == 3  # two of data and the page's own
    assert not browser.execute_script("return document.querySelectorAll('img[src=\"x\"]').length")
    assert EVIL in browser.execute_script("return document.body.textContent")


@needs_chromium
def test_the_video_grid_takes_any_two_axes_and_shows_what_did_not_run(browser, made_up_page):
    open_page(browser, made_up_page)
    choose = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(choose, "grid-rows", "motion_bucket_id")
    browser.execute_script(choose, "grid-columns", "seed")
    wait_until(browser, "document.querySelectorAll('#grid td').length === 6")
    heads = browser.execute_script(
        "return [...document.querySelectorAll('#grid tbody th')].map(h => h.textContent)"
    )
    assert heads == ["60", "120", "180"]
    browser.execute_script(
        "const s = [...document.querySelectorAll('#grid-fixed select')][0]; s.value = 'compile';"
        "s.dispatchEvent(new Event('change'))"
    )
    assert browser.execute_script(
        "return [...document.querySelectorAll('#grid .empty')].map(e => e.textContent)"
    ) == ["out of memory"]
    assert browser.execute_script("return document.querySelectorAll('#grid video').length") == 5
    browser.execute_script("document.getElementById('grid-baseline').click()")
    assert browser.execute_script("return document.querySelectorAll('#grid video').length") == 11


@needs_chromium
def test_a_missing_video_says_so(browser, made_up_page):
    lost = next((made_up_page.parent / "videos").glob("*.mp4"))
    kept = lost.rename(lost.with_suffix(".away"))
    try:
        open_page(browser, made_up_page)
        browser.execute_script(
            "const d = JSON.parse(document.getElementById('grid-data').textContent).tiles;"
            "const t = d.find(t => t.key === arguments[0]);"
            "for (const s of document.querySelectorAll('#grid-fixed select')) { s.value = t.at.seed;"
            " s.dispatchEvent(new Event('change')); }",
            lost.stem,
        )
        wait_until(
            browser,
            "[...document.querySelectorAll('#grid .empty')].some(e => e.textContent === 'video missing')",
        )
    finally:
        kept.rename(lost)


@needs_chromium
def test_tooltips_come_by_keyboard_and_nothing_is_wider_than_a_phone(browser, made_up_page):
    open_page(browser, made_up_page)
    browser.execute_script("document.querySelector('#plot-pareto .tip').focus()")
    assert " s, " in browser.execute_script("return document.getElementById('tip').innerText")
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        widths = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert widths == [390, 390]


def press(browser, axis, edge, key, times=1):
    """Press a key on the edge of an axis's brush; returns what a screen reader is told of its place."""
    return browser.execute_script(
        "const thumb = [...document.querySelectorAll('[role=slider]')].find(t =>"
        " t.getAttribute('aria-label').startsWith(arguments[0]) && t.classList.contains(arguments[1]));"
        "thumb.focus();"
        "for (let i = 0; i < arguments[3]; i++) thumb.dispatchEvent("
        " new KeyboardEvent('keydown', { key: arguments[2], bubbles: true, cancelable: true }));"
        "return thumb.getAttribute('aria-valuetext')",
        *(axis, edge, key, times),
    )


def inside(browser, count):
    """Wait until so many of the page's jobs are inside the brushes."""
    wait_until(
        browser, f"document.getElementById('parallel-count').textContent.startsWith('{count} of 30 jobs')"
    )


@needs_chromium
def test_a_brush_moved_by_keys_filters_table_videos_and_marks_and_the_address_keeps_it(browser, made_up_page):
    open_page(browser, made_up_page)
    inside(browser, 30)
    assert press(browser, "memory", "upper", "ArrowDown", 4) == EVIL, "only the last strategy is left"
    inside(browser, 6)
    shown = "[...document.querySelectorAll('#jobs tr[data-key]')].filter(r => !r.hidden).length"
    faded = "document.querySelectorAll('#plot-pareto [data-of].out').length"
    videos = "document.querySelectorAll('#grid td').length"
    for _ in range(2):
        assert browser.execute_script(f"return [{shown}, {faded}, {videos}]") == [6, 4, 3]
        kept = "JSON.parse(new URLSearchParams(location.hash.slice(1)).get('in.memory'))"
        assert browser.execute_script(f"return {kept}") == [EVIL, EVIL]
        browser.refresh()
        inside(browser, 6)
    browser.execute_script("document.querySelector('nav a[href=\"#jobs\"]').click()")
    wait_until(browser, "location.hash.startsWith('#in.memory=')")
    press(browser, "memory", "lower", "Escape")
    inside(browser, 30)
    assert browser.execute_script(f"return [{shown}, {faded}, {videos}]") == [30, 0, 15]
    assert complaints_and_requests(browser) == ([], [])


@needs_chromium
def test_what_is_missing_has_its_own_place_on_an_axis(browser, made_up_page):
    open_page(browser, made_up_page)
    press(browser, "total_s", "upper", "Home")
    inside(browser, 2)
    assert press(browser, "total_s", "lower", "Escape") == "missing"
    assert press(browser, "total_s", "lower", "ArrowUp").endswith(" s")
    inside(browser, 28)


@needs_chromium
@pytest.mark.parametrize("pointer", ["mouse", pytest.param("touch", marks=pytest.mark.slow)])
def test_a_brush_is_drawn_by_mouse_and_by_finger_and_a_tap_takes_one_word(browser, made_up_page, pointer):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    open_page(browser, made_up_page)
    axis = "[...document.querySelectorAll('.axis')].find(a => a.getAttribute('aria-label') === 'seed')"
    browser.execute_script(f"{axis}.scrollIntoView({{ block: 'start', behavior: 'instant' }})")
    x, top = browser.execute_script(
        f"const box = {axis}.querySelector('.line').getBoundingClientRect(); return [box.x, box.y]"
    )
    hand = ActionChains(browser, duration=20, devices=[PointerInput(pointer, pointer)])
    action = hand.w3c_actions.pointer_action
    for start, end in ((60, 20), (40, -15)):  # a little of the axis, then that moved up as far as it goes
        action.move_to_location(int(x), int(top) + start).pointer_down()
        action.move_to_location(int(x), int(top) + end).pointer_up()
    hand.perform()
    inside(browser, 15)
    action.move_to_location(int(x), int(top) + 200).pointer_down().pointer_up()
    hand.perform()
    inside(browser, 30)


@needs_chromium
def test_an_address_that_means_nothing_shows_everything(browser, made_up_page):
    nothing = "#in.memory=[1&in.total_s=[null,{}]&in.no=[1,2]&in.seed=[9,1]&axes=7&colour=no"
    browser.get("about:blank")
    browser.get(made_up_page.absolute().as_uri() + nothing)
    inside(browser, 30)
    assert browser.get_log("browser") == []


@needs_chromium
def test_colour_and_axes_are_chosen_and_kept(browser, made_up_page):
    open_page(browser, made_up_page)
    browser.execute_script(
        "const pick = document.getElementById('parallel-colour'); pick.value = 'total_s';"
        "pick.dispatchEvent(new Event('change'));"
        "[...document.querySelectorAll('#parallel-axes label')].find(l => l.textContent.trim() === 'seed').click()"
    )
    wait_until(browser, "location.hash.includes('colour=total_s') && location.hash.includes('axes=')")
    browser.refresh()
    inside(browser, 30)
    legend, axes = browser.execute_script(
        "return [[...document.querySelectorAll('#parallel-legend li')].map(l => l.textContent),"
        " [...document.querySelectorAll('.axis')].map(a => a.getAttribute('aria-label'))]"
    )
    assert legend[-1] == "did not end well"
    assert "–" in legend[0]
    assert "seed" not in axes
    assert "total_s (s)" in axes


AXE = importlib.util.find_spec(
    "axe_playwright_python"
)  # found, not imported: of it only axe-core's file is wanted


@needs_chromium
@pytest.mark.slow
@pytest.mark.skipif(not AXE, reason="no axe-core here: pip install --no-deps axe-playwright-python")
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_serious_in_what_a_screen_reader_is_told(browser, made_up_page, look):
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if look == "dark" else "light"}]
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    if look == "phone":
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        open_page(browser, made_up_page)
        press(browser, "total_s", "upper", "ArrowDown")
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        browser.execute_script(Path(AXE.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v =>"
            " [v.impact, v.id, v.nodes.map(n => n.html)])))"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert [each for each in found if each[0] in ("serious", "critical")] == []


@needs_chromium
@pytest.mark.slow
@pytest.mark.usefixtures("no_drawing")
def test_ten_thousand_jobs_open_are_drawn_and_are_brushed(browser, tmp_path):
    # a few jobs under ten thousand seeds: writing each through the store's fsync would measure the disk
    (row, *_) = made_up.sweep(tmp_path / "few", seeds=[0], buckets=[60])
    path = tmp_path / "many" / "rows" / "w-1.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as f:
        for seed in range(10_000):
            values = {**row.values, "total_s": 5.0 + seed % 97, "motion_px": 1.0 + seed % 89}
            here = dataclasses.replace(row, job=dataclasses.replace(row.job, seed=seed), values=values)
            f.write(here.to_json() + "\n")
    open_page(browser, write(tmp_path / "many"))
    wait_until(browser, "document.getElementById('parallel-count').textContent === '10000 of 10000 jobs'")
    wait_until(browser, "performance.getEntriesByName('parallel').length")
    press(browser, "seed", "upper", "PageDown", 5)
    wait_until(
        browser, "document.getElementById('parallel-count').textContent.startsWith('5000 of 10000 jobs')"
    )
    assert complaints_and_requests(browser) == ([], [])


@needs_chromium
@pytest.mark.slow
def test_the_page_of_a_sweep_that_really_ran(browser, tmp_path):
    from svdsweep.cli import main
    from svdsweep.store.rows import Store

    few = ["num_inference_steps=1", "num_frames=9"]
    sweep = [*few, f"runs_dir='{tmp_path}'", "name=real", "runner.devices=cpu"]
    strategies = "memory=baseline,chunked_decode,forward_chunking,split_guidance"
    main([*sweep, "seed=0,1", "motion_bucket_id=20,120,220", strategies])
    folder = tmp_path / "real"
    store = Store(folder, "planted-1")
    rows = [r for r in Store(folder).rows().values() if r.job.memory.name == "split_guidance"]
    store.append(Row(rows[0].job, "oom", attempt=2, error="out of memory", phase="denoise"))
    store.append(Row(rows[1].job, "failed", attempt=2, error="RuntimeError: planted", phase="vae_decode"))
    check_page(browser, write(folder), tiles=3 * 4)


@needs_chromium
@pytest.mark.slow
@pytest.mark.usefixtures("no_drawing")
def test_a_defective_video_is_marked_where_it_plays(browser, tmp_path):
    def black(row):
        broken = row.job.seed == 1 and row.job.motion_bucket_id == 60
        return dataclasses.replace(row, values={**row.values, "black_frames": 6}) if broken else row

    made_up.sweep(tmp_path, strategies={"baseline": Memory()}, change=black, videos=True)
    open_page(browser, write(tmp_path))
    wait_until(browser, "document.querySelectorAll('#grid video').length === 6")
    marked = (
        "[...document.querySelectorAll('#grid .badge')].map(b => [b.textContent, b.parentNode.textContent])"
    )
    ((word, cell),) = browser.execute_script(f"return {marked}")
    assert word == "defective"
    assert cell.startswith("defective 1")
