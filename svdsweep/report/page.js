"use strict";
// Sortable tables, tooltips, and the video grid. No library, no network.

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known stays last
        const numbers = [Number(a), Number(b)];
        const order = numbers.some(Number.isNaN) ? a.localeCompare(b, "en", { numeric: true }) : numbers[0] - numbers[1];
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

const tip = document.getElementById("tip");
const showTip = (event) => {
  const mark = event.target.closest?.(".tip");
  if (!mark) { tip.hidden = true; return; }
  mark.querySelector("title")?.remove(); // the browser's own tooltip would come on top
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const x = Math.min(box.x + box.width / 2 + 10, innerWidth - tip.offsetWidth - 8);
  const above = box.y - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
};
document.addEventListener("pointerover", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

const data = document.getElementById("grid-data");
if (data) videoGrid(JSON.parse(data.textContent));

function videoGrid({ axes, values, tiles }) {
  const at = (id) => document.getElementById(`grid-${id}`);
  const [rowPick, columnPick, fixed, withBase, play, time, speed, said] =
    ["rows", "columns", "fixed", "baseline", "play", "time", "speed", "said"].map(at);
  const LIMIT = 60; // videos at once
  const byKey = new Map(tiles.map((tile) => [tile.key, tile]));
  const chosen = Object.fromEntries(axes.map((axis) => [axis, values[axis][0]]));
  let videos = [];
  let frame = 0;
  let kept = tiles; // those that the brushes leave
  document.addEventListener("kept", ({ detail }) => {
    const next = detail ? tiles.filter((tile) => detail.has(tile.key)) : tiles;
    if (next.length === kept.length && next.every((tile, i) => tile === kept[i])) return;
    kept = next;
    build();
  });
  const offered = (axis) => {
    const left = new Set(kept.map((tile) => tile.at[axis]));
    return values[axis].filter((value) => left.has(value));
  };

  const options = (select, names, value) => {
    select.replaceChildren(...names.map((name) => new Option(name || "(none)", name, false, name === value)));
  };
  options(rowPick, ["", ...axes], axes.find((axis) => axis !== "memory" && axis !== "seed") ?? axes.find((axis) => axis === "seed") ?? "");
  options(columnPick, ["", ...axes], axes.find((axis) => axis === "memory") ?? axes.find((axis) => axis !== rowPick.value) ?? "");

  const pause = () => {
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
    cancelAnimationFrame(frame);
    videos.forEach((video) => video.pause());
  };
  const clock = () => videos.find((video) => video.readyState > 0 && video.duration) ?? null;
  const follow = () => { // the first video is the clock; the others are set back when they drift
    const lead = clock();
    if (lead) {
      time.value = Math.round((1000 * lead.currentTime) / lead.duration);
      for (const video of videos) {
        if (video !== lead && Math.abs(video.currentTime - lead.currentTime) > 0.08 && !video.seeking) {
          video.currentTime = lead.currentTime;
        }
      }
      if (lead.ended) videos.forEach((video) => { video.currentTime = 0; video.play().catch(() => {}); });
    }
    frame = requestAnimationFrame(follow);
  };
  play.addEventListener("click", () => {
    if (play.getAttribute("aria-pressed") === "true") return pause();
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    videos.forEach((video) => { video.playbackRate = Number(speed.value); video.play().catch(() => {}); });
    follow();
  });
  speed.addEventListener("change", () => videos.forEach((video) => { video.playbackRate = Number(speed.value); }));
  time.addEventListener("input", () => {
    pause();
    videos.forEach((video) => { if (video.duration) video.currentTime = (time.value / 1000) * video.duration; });
  });

  const element = (name, text, cls) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (cls) made.className = cls;
    return made;
  };
  const picture = (tile, label) => {
    if (!tile || !tile.video) return element("div", tile ? (tile.status === "oom" ? "out of memory" : tile.status) : kept === tiles ? "not run" : "not here", "empty");
    const video = element("video");
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: encodeURI(tile.video) });
    video.setAttribute("aria-label", label);
    video.addEventListener("error", () => {
      videos = videos.filter((other) => other !== video);
      video.replaceWith(element("div", "video missing", "empty"));
    });
    video.addEventListener("loadedmetadata", () => {
      document.getElementById("grid").style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
    }, { once: true });
    videos.push(video);
    return video;
  };
  const cell = (row, column) => {
    const wanted = { ...chosen };
    if (rowPick.value) wanted[rowPick.value] = row;
    if (columnPick.value) wanted[columnPick.value] = column;
    const tile = kept.find((candidate) => axes.every((axis) => candidate.at[axis] === wanted[axis]));
    const box = element("td");
    const pair = element("div", undefined, "tile");
    pair.append(picture(tile, Object.entries(wanted).map((entry) => entry.join(" ")).join(", ")));
    const base = tile && withBase.checked && tile.base !== tile.key ? byKey.get(tile.base) : null;
    if (base) pair.append(picture(base, "its baseline"));
    box.append(pair, element("div", tile?.label + (base ? " · right: baseline" : ""), "under"));
    if (!tile) box.lastChild.textContent = "";
    else if (tile.video && tile.status !== "ok") box.lastChild.prepend(element("span", tile.status, `badge ${tile.status}`), " ");
    return box;
  };
  const build = () => {
    pause();
    time.value = 0;
    videos = [];
    const row = rowPick.value;
    const column = columnPick.value === row ? "" : columnPick.value;
    if (!column) columnPick.value = "";
    const free = axes.filter((axis) => axis !== row && axis !== column);
    for (const axis of free) if (kept.length && !offered(axis).includes(chosen[axis])) [chosen[axis]] = offered(axis);
    fixed.replaceChildren(...free.map((axis) => {
      const label = element("label", `${axis} `);
      const select = element("select");
      options(select, offered(axis), chosen[axis]);
      select.addEventListener("change", () => { chosen[axis] = select.value; build(); });
      label.append(select);
      return label;
    }));
    const across = column ? offered(column) : [""];
    let down = row ? offered(row) : [""];
    const room = Math.max(1, Math.floor(LIMIT / across.length / (withBase.checked ? 2 : 1)));
    said.textContent = down.length > room ? `${down.length - room} more rows are not shown: too many videos at once.` : "";
    if (!kept.length) said.textContent = "No job of this grid is inside the brushes.";
    down = down.slice(0, room);
    const table = element("table");
    const top = table.createTHead().insertRow();
    top.append(element("th", row), ...across.map((value) => element("th", column ? `${column} ${value}` : "")));
    const body = table.createTBody();
    for (const value of down) {
      const line = body.insertRow();
      line.append(element("th", value), ...across.map((other) => cell(value, other)));
    }
    document.getElementById("grid").replaceChildren(table);
  };
  [rowPick, columnPick, withBase].forEach((control) => control.addEventListener("change", build));
  build();
}
