// Parallel coordinates: an axis a setting or column, a line a job. What is inside all brushes stays, here and on the
// rest of the page; the address keeps the brushes. No library, no network.
{
  const source = document.getElementById("parallel-data");
  if (source) parallel(JSON.parse(source.textContent));

  function parallel({ keys, bad, axes }) {
    const at = (id) => document.getElementById(`parallel-${id}`);
    const [chart, legend, colourPick, axesPick, clear, count] = ["chart", "legend", "colour", "axes", "clear", "count"].map(at);
    const n = keys.length;
    const HEIGHT = 260; // px of an axis; what is missing stands below it
    const [TOP, MISSING, LOW] = [22, -0.14, -0.2]; // px above the axes; places below their zero, in axis lengths
    const WHOLE = TOP + HEIGHT * (1 - LOW);
    const PAPER = 660; // px of a printed page between its margins
    const BIN = 2; // px: lines that end in the same bins are one, drawn stronger
    const BINS = Math.ceil(WHOLE / BIN) + 1;
    const HUES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C7AE6"]; // Okabe and Ito's, as in the plots
    const RAMPS = { // plasma's part that is seen on each ground
      light: ["#0d0887", "#6a00a8", "#b12a90", "#d8576b", "#ed7953"],
      dark: ["#a62098", "#cc4778", "#ed7953", "#fdb42f", "#f0f921"],
    };
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const isBad = new Uint8Array(n);
    bad.forEach((i) => { isBad[i] = 1; });
    const written = (value) => String(Number(value.toPrecision(4)));

    // ---- axes: from a value to a place (0 to 1, below 0 what is missing) and back
    for (const axis of axes) {
      const some = axis.at.filter((value) => value !== null);
      if (axis.words) {
        const size = axis.words.length;
        axis.to = (index) => 1 - (index + 0.5) / size;
        axis.step = 1 / size;
      } else {
        const [low, high] = some.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
        const log = low > 0 && high / low >= 100;
        const scale = log ? Math.log : Number;
        const span = scale(high) - scale(low);
        axis.to = (value) => (span ? (scale(value) - scale(low)) / span : 0.5);
        axis.from = (p) => Number((log ? Math.exp : Number)(scale(low) + p * span).toPrecision(6));
        Object.assign(axis, { low, high, log, step: 0.02 });
      }
      axis.places = Float32Array.from(axis.at, (value) => (value === null ? MISSING : axis.to(value)));
      axis.bins = Uint8Array.from(axis.places, (p) => Math.round((TOP + HEIGHT * (1 - p)) / BIN));
      axis.least = some.length < n ? LOW : 0;
      axis.title = axis.name + (axis.unit ? ` (${axis.unit})` : "");
    }
    const byName = new Map(axes.map((axis) => [axis.name, axis]));
    const ticks = (axis) => {
      if (axis.words) return axis.words.map((word, i) => [axis.to(i), word]);
      const values = [...new Set(axis.at)].filter((value) => value !== null).sort((a, b) => a - b);
      if (values.length <= 8) return values.map((value) => [axis.to(value), written(value)]);
      const made = [];
      if (axis.log) {
        const several = axis.high / axis.low < 1e3 ? [1, 2, 5] : [1];
        for (let e = Math.floor(Math.log10(axis.low)); e <= Math.log10(axis.high); e += 1) made.push(...several.map((m) => m * 10 ** e));
      } else {
        const rough = (axis.high - axis.low) / 5;
        const unit = 10 ** Math.floor(Math.log10(rough));
        const size = unit * [1, 2, 5, 10].find((m) => m * unit >= rough);
        for (let k = Math.ceil(axis.low / size); k * size <= axis.high; k += 1) made.push(k * size);
      }
      return made.filter((v) => v >= axis.low && v <= axis.high).map((value) => [axis.to(value), written(value)]);
    };

    // ---- state: which axes, which colour, and the brushes, each from a lower to an upper place
    const usual = axes.filter((axis) => axis.shown).map((axis) => axis.name);
    const usualColour = usual.includes("memory") ? "memory" : usual[0];
    let shown = usual;
    let colour = usualColour;
    const brushes = new Map();
    const selected = new Uint8Array(n).fill(1);
    const inside = (axis, [a, b]) => (i) => axis.places[i] >= a - 1e-6 && axis.places[i] <= b + 1e-6;
    const select = () => {
      selected.fill(1);
      for (const [name, brush] of brushes) {
        const holds = inside(byName.get(name), brush);
        for (let i = 0; i < n; i += 1) if (selected[i] && !holds(i)) selected[i] = 0;
      }
    };
    const edge = (axis, p, upper) => { // an edge in words, for people
      if (p < 0) return "missing";
      if (!axis.words) return `${written(axis.from(p))}${axis.unit ? ` ${axis.unit}` : ""}`;
      const size = axis.words.length;
      return axis.words[Math.min(size - 1, Math.max(0, upper ? Math.round((1 - p) * size) : Math.round((1 - p) * size) - 1))];
    };
    const snapped = (axis, a, b) => { // to whole words, or to numbers that the address can hold
      const [least, most] = [Math.max(axis.least, Math.min(a, b)), Math.min(1, Math.max(a, b))];
      const whole = (p, round) => {
        if (p < 0) return axis.least < 0 ? (round === Math.floor ? LOW : p < MISSING ? MISSING : p) : 0;
        if (axis.words) return round(p / axis.step + (round === Math.floor ? 1e-6 : -1e-6)) * axis.step;
        return Math.min(1, Math.max(0, axis.to(axis.from(p))));
      };
      return [whole(least, Math.floor), whole(most, Math.ceil)];
    };

    // ---- the address
    const bounds = (axis, [a, b]) => {
      const value = (p, upper) => (p < 0 ? null : axis.words ? edge(axis, p, upper) : axis.from(p));
      return [value(a, false), value(b, true)];
    };
    const write = () => {
      const told = new URLSearchParams();
      for (const [name, brush] of brushes) told.set(`in.${name}`, JSON.stringify(bounds(byName.get(name), brush)));
      if (colour !== usualColour) told.set("colour", colour);
      if (shown.join("\n") !== usual.join("\n")) told.set("axes", JSON.stringify(shown));
      const hash = `#${told}`;
      if (hash === location.hash || (hash === "#" && !location.hash.includes("="))) return;
      try { history.replaceState(null, "", hash); } catch { location.replace(hash); }
    };
    const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
    const read = () => {
      const told = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
      const named = parsed(told.get("axes"));
      const known = Array.isArray(named) ? [...new Set(named)].filter((name) => byName.has(name)) : [];
      shown = known.length ? known : usual;
      colour = byName.has(told.get("colour")) ? told.get("colour") : usualColour;
      brushes.clear();
      for (const axis of axes) {
        const ends = parsed(told.get(`in.${axis.name}`));
        if (!Array.isArray(ends) || ends.length !== 2) continue;
        const [from, to] = ends.map((end) => (end === null || !axis.words ? end : axis.words.indexOf(String(end))));
        if ([from, to].some((end) => end !== null && (typeof end !== "number" || end < 0 && axis.words))) continue;
        const half = axis.words ? axis.step / 2 : 0;
        const [a, b] = [from === null ? LOW : axis.to(from) - half, to === null ? MISSING : axis.to(to) + half];
        if (Number.isFinite(a) && Number.isFinite(b) && a <= b) brushes.set(axis.name, [Math.max(axis.least, a), Math.min(1, b)]);
      }
    };

    // ---- colours: a class a job, the last one for what did not end well
    let classes = [];
    const classOf = new Uint8Array(n);
    const paint = (forPaper = false) => {
      const style = getComputedStyle(document.documentElement);
      const axis = byName.get(colour);
      const ramp = RAMPS[dark.matches && !forPaper ? "dark" : "light"];
      const grey = style.getPropertyValue("--soft");
      let bin;
      if (axis.words) {
        classes = axis.words.slice(0, HUES.length).map((word, i) => ({ label: word, ink: HUES[i] }));
        if (axis.words.length > HUES.length) classes.push({ label: `${axis.words.length - HUES.length} others`, ink: grey });
        bin = (value) => Math.min(value, HUES.length);
      } else {
        const end = (i) => (i ? (i === ramp.length ? axis.high : axis.from(i / ramp.length)) : axis.low);
        classes = ramp.map((ink, i) => ({ label: `${written(end(i))}–${written(end(i + 1))}`, ink }));
        bin = (value) => Math.min(ramp.length - 1, Math.floor(axis.to(value) * ramp.length));
        if (axis.low === axis.high) classes = [{ label: written(axis.low), ink: ramp[0] }];
        if (classes.length === 1) bin = () => 0;
      }
      const none = classes.push({ label: "missing", ink: grey }) - 1;
      const poor = classes.push({ label: "did not end well", ink: forPaper ? "#000" : style.getPropertyValue("--ink"), dash: [5, 3] }) - 1;
      for (let i = 0; i < n; i += 1) classOf[i] = isBad[i] ? poor : axis.at[i] === null ? none : bin(axis.at[i]);
      const used = new Set(classOf);
      legend.replaceChildren(...classes.flatMap(({ label, ink, dash }, k) => {
        if (!used.has(k)) return [];
        const line = document.createElement("li");
        const key = document.createElement("i");
        key.style.borderTop = `3px ${dash ? "dashed" : "solid"} ${ink}`;
        line.append(key, label);
        return [line];
      }));
    };

    // ---- lines: all of them faint below, the selected ones on top; drawn gap by gap, a few milliseconds at a time
    const [below, above] = [0, 1].map(() => document.createElement("canvas"));
    const faint = Math.min(0.8, 4 / Math.sqrt(n)); // of one line
    const counts = new Uint16Array((HUES.length + 3) * BINS * BINS);
    let spacing = 100;
    const drawGap = (canvas, gap, all) => {
      const pen = canvas.getContext("2d");
      const [from, to] = [byName.get(shown[gap]), byName.get(shown[gap + 1])];
      const [x0, x1] = [(gap + 0.5) * spacing, (gap + 1.5) * spacing];
      pen.clearRect(x0, 0, spacing, WHOLE);
      counts.fill(0);
      for (let i = 0; i < n; i += 1) {
        if (all || selected[i]) counts[((all ? 0 : classOf[i]) * BINS + from.bins[i]) * BINS + to.bins[i]] += 1;
      }
      const style = all ? [{ ink: getComputedStyle(chart).color }] : classes;
      const paths = new Map(); // by pass, class and level of strength
      for (let p = 0; p < style.length * BINS * BINS; p += 1) {
        if (!counts[p]) continue;
        const [k, a, b] = [Math.floor(p / BINS / BINS), Math.floor(p / BINS) % BINS, p % BINS];
        // in each pass another class comes last, so that none hides the others; what did not end well is on top of all
        const pass = style[k].dash ? style.length : (7 * a + 3 * b) % style.length;
        const id = (pass * style.length + ((k + pass) % style.length)) * 16 + 31 - Math.clz32(counts[p]);
        if (!paths.has(id)) paths.set(id, [k, new Path2D()]);
        const [, path] = paths.get(id);
        path.moveTo(x0, a * BIN);
        path.lineTo(x1, b * BIN);
      }
      pen.lineWidth = n < 300 ? 1.5 : 1;
      for (const id of [...paths.keys()].sort((a, b) => a - b)) {
        const [k, path] = paths.get(id);
        pen.strokeStyle = style[k].ink;
        pen.setLineDash(style[k].dash ?? []);
        pen.globalAlpha = (1 - (1 - faint) ** (1.5 * 2 ** (id % 16))) * (all ? 0.2 : 1);
        pen.stroke(path);
      }
    };
    let [frame, turn] = [0, 0];
    const draw = (withBelow, atOnce = false) => {
      cancelAnimationFrame(frame);
      const gaps = [...shown.keys()].slice(0, -1).map((gap, _, { length }) => (gap + turn) % length); // each has its turn in a drag
      const work = [...gaps.map((gap) => [above, gap, false]), ...(withBelow ? gaps.map((gap) => [below, gap, true]) : [])];
      const began = performance.now();
      let busy = 0;
      const some = () => {
        const start = performance.now();
        while (work.length && (atOnce || performance.now() - start < 12)) {
          turn = work[0][1] + 1;
          drawGap(...work.shift());
        }
        busy += performance.now() - start;
        if (work.length) { frame = requestAnimationFrame(some); return; }
        performance.clearMeasures("parallel");
        performance.measure("parallel", { start: began, end: performance.now(), detail: { busy } });
      };
      if (atOnce) some(); else frame = requestAnimationFrame(some);
    };

    // ---- what follows the brushes on the rest of the page
    const rowOf = new Map(keys.map((key, i) => [key, i]));
    const matches = (wanted) => {
      const tests = Object.entries(wanted).filter(([name]) => byName.has(name)).map(([name, value]) => {
        const axis = byName.get(name);
        const target = axis.words ? axis.words.indexOf(String(value)) : Number.isInteger(value) ? value : Number(value.toPrecision(5));
        return (i) => axis.at[i] === target;
      });
      for (let i = 0; i < n; i += 1) if (selected[i] && tests.every((test) => test(i))) return true;
      return false;
    };
    const follow = () => {
      const filtered = brushes.size > 0;
      document.body.classList.toggle("filtered", filtered);
      for (const part of document.querySelectorAll("[data-key]")) {
        const row = rowOf.get(part.dataset.key);
        part.hidden = row !== undefined && !selected[row];
      }
      const answers = new Map();
      for (const mark of document.querySelectorAll("[data-of]")) {
        const of = mark.dataset.of;
        if (!answers.has(of)) answers.set(of, !filtered || matches(JSON.parse(of)));
        mark.classList.toggle("out", !answers.get(of));
      }
      const kept = filtered ? new Set(keys.filter((_, i) => selected[i])) : null;
      document.dispatchEvent(new CustomEvent("kept", { detail: kept }));
      count.textContent = `${selected.reduce((a, b) => a + b, 0)} of ${n} jobs${filtered ? " inside the brushes" : ""}`;
      write();
    };
    let later = 0;
    const changed = () => {
      select();
      draw(false);
      place();
      clear.hidden = !brushes.size;
      below.hidden = !brushes.size;
      clearTimeout(later);
      later = setTimeout(follow, 150);
    };
    const brush = (axis, a, b) => {
      const [low, high] = snapped(axis, a, b);
      if (low <= axis.least + 1e-6 && high >= 1 - 1e-6) brushes.delete(axis.name);
      else brushes.set(axis.name, [low, high]);
      changed();
    };
    const release = (axis) => { brushes.delete(axis.name); changed(); };

    // ---- an axis on the screen: title, ticks, the brush with its two edges
    const element = (name, cls, text = "") => Object.assign(document.createElement(name), { className: cls, textContent: text });
    const y = (p) => TOP + HEIGHT * (1 - p);
    const placers = [];
    const place = () => placers.forEach((each) => each());
    const build = (axis, x, isLast) => {
      const box = element("div", isLast ? "axis last" : "axis");
      box.style.left = `${x}px`;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", axis.title);
      const title = element("div", "title");
      title.append(...axis.title.split(/(?<=_)/).flatMap((part) => [part, document.createElement("wbr")]));
      title.title = axis.help ? `${axis.name}: ${axis.help}` : axis.name;
      const line = element("div", "line");
      line.style.cssText = `top: ${y(1)}px; height: ${HEIGHT}px`;
      const touch = element("div", "touch");
      const band = element("div", "band");
      touch.append(band);
      box.append(title, line, touch);
      let last = Infinity;
      for (const [p, text] of ticks(axis).sort(([a], [b]) => a - b)) {
        if (last - y(p) < 13) continue;
        last = y(p);
        const tick = element("span", "tick", text);
        tick.style.top = `${last}px`;
        tick.title = text;
        box.append(tick);
      }
      if (axis.least < 0) {
        const none = element("span", "tick none", "missing");
        none.style.top = `${y(MISSING)}px`;
        box.append(none);
      }
      const ends = () => brushes.get(axis.name) ?? [axis.least, 1];
      const thumbs = ["lower", "upper"].map((word, upper) => {
        const thumb = element("div", `thumb ${word}`);
        for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-orientation": "vertical", "aria-label": `${axis.title}, ${word} edge`, "aria-valuemin": Math.round(axis.least * 100), "aria-valuemax": 100 })) thumb.setAttribute(name, value);
        thumb.addEventListener("keydown", (event) => {
          const [a, b] = ends();
          const move = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -Infinity, End: Infinity }[event.key];
          if (event.key === "Escape") release(axis);
          else if (move === undefined) return;
          else {
            event.preventDefault();
            const now = upper ? b : a;
            let p = now + move * axis.step;
            if (now < 0 && move > 0 || now > 1e-6 && p < 0 && move > -6) p = 0; // between what is missing and the axis there is nothing
            else if (p < 0) p = upper ? MISSING : axis.least;
            if (upper) brush(axis, a, Math.max(p, a < 0 ? MISSING : axis.words ? a + axis.step : a));
            else brush(axis, Math.min(p, b < 0 ? LOW : axis.words ? b - axis.step : b), b);
          }
        });
        return thumb;
      });
      touch.append(...thumbs);
      placers.push(() => {
        const [a, b] = ends();
        const [top, bottom] = [y(b), y(a)];
        band.style.cssText = `top: ${top}px; height: ${Math.max(3, bottom - top)}px`;
        band.classList.toggle("on", brushes.has(axis.name));
        thumbs.forEach((thumb, upper) => {
          thumb.style.top = `${upper ? top : bottom}px`;
          thumb.setAttribute("aria-valuenow", Math.round(100 * (upper ? b : a)));
          thumb.setAttribute("aria-valuetext", edge(axis, upper ? b : a, upper));
        });
      });
      drag(axis, touch, thumbs, ends);
      return box;
    };
    const drag = (axis, touch, thumbs, ends) => {
      const placeOf = (event) => 1 - (event.clientY - touch.getBoundingClientRect().top - TOP) / HEIGHT;
      touch.addEventListener("pointerdown", (down) => {
        if (down.button) return;
        down.preventDefault();
        touch.setPointerCapture(down.pointerId);
        const start = placeOf(down);
        const [a, b] = ends();
        const which = thumbs.indexOf(down.target);
        const moves = which < 0 && brushes.has(axis.name) && start > a && start < b;
        if (which >= 0) thumbs[which].focus();
        const move = (event) => {
          const p = Math.min(1, Math.max(LOW, placeOf(event)));
          if (Math.abs(event.clientY - down.clientY) < 4 && which < 0) return;
          if (which >= 0) brush(axis, which ? a : p, which ? p : b);
          else if (!moves) brush(axis, start, p);
          else {
            const by = Math.max(axis.least - a, Math.min(1 - b, p - start));
            brush(axis, a + by, b + by - (axis.words ? 1e-3 : 0));
          }
        };
        const up = (event) => {
          touch.removeEventListener("pointermove", move);
          if (event.type === "pointerup" && which < 0 && Math.abs(event.clientY - down.clientY) < 4) tap(axis, start);
        };
        touch.addEventListener("pointermove", move);
        for (const name of ["pointerup", "pointercancel"]) touch.addEventListener(name, up, { once: true });
      });
    };
    const tap = (axis, p) => { // a word, or what is missing, alone; the same once more, or a place among numbers: all again
      const only = p < 0 && axis.least < 0 ? [LOW, MISSING] : axis.words ? snapped(axis, p, p + 1e-3) : null;
      const now = brushes.get(axis.name);
      if (!only || (now && Math.abs(now[0] - only[0]) + Math.abs(now[1] - only[1]) < 1e-3)) release(axis);
      else brush(axis, only[0] + 1e-3, only[1] - 1e-3);
    };

    // ---- layout and controls
    const layout = (onPaper = false) => {
      const focus = chart.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
      const room = chart.parentNode.clientWidth;
      spacing = Math.floor(onPaper ? PAPER / shown.length : Math.max(innerWidth < 640 ? 92 : 104, room / shown.length));
      const width = spacing * shown.length;
      chart.style.cssText = `width: ${width}px; height: ${WHOLE + 88}px; --gap: ${spacing}px`;
      const sharp = Math.min(2, devicePixelRatio || 1);
      for (const canvas of [below, above]) {
        canvas.width = width * sharp;
        canvas.height = WHOLE * sharp;
        canvas.style.width = `${width}px`;
        canvas.getContext("2d").scale(sharp, sharp);
      }
      above.setAttribute("role", "img");
      above.setAttribute("aria-label", `${n} jobs as lines over ${shown.join(", ")}`);
      below.setAttribute("aria-hidden", "true");
      placers.length = 0;
      chart.replaceChildren(below, above, ...shown.map((name, i) => build(byName.get(name), (i + 0.5) * spacing, i === shown.length - 1)));
      if (focus) [...chart.querySelectorAll(".thumb")].find((thumb) => thumb.getAttribute("aria-label") === focus)?.focus();
      place();
      draw(true, onPaper);
    };
    const controls = () => {
      colourPick.replaceChildren(...axes.map((axis) => new Option(axis.name, axis.name, false, axis.name === colour)));
      axesPick.replaceChildren(...axes.map((axis) => {
        const label = element("label", "");
        const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: shown.includes(axis.name) });
        box.addEventListener("change", () => {
          const next = box.checked ? [...shown, axis.name] : shown.filter((name) => name !== axis.name);
          if (next.length < 2) { box.checked = true; return; }
          shown = next;
          brushes.delete(axis.name);
          layout();
          changed();
        });
        label.append(box, `\u00a0${axis.name}`);
        return label;
      }));
    };
    const restore = () => {
      read();
      controls();
      paint();
      layout();
      changed();
    };
    colourPick.addEventListener("change", () => { colour = colourPick.value; paint(); draw(false); write(); });
    clear.addEventListener("click", () => { brushes.clear(); changed(); });
    addEventListener("hashchange", () => (location.hash.includes("=") || !location.hash ? restore() : write()));
    dark.addEventListener("change", () => { paint(); draw(true); });
    addEventListener("beforeprint", () => { paint(true); layout(true); });
    addEventListener("afterprint", () => { paint(); layout(); });
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (width && Math.abs(contentRect.width - width) > 1) layout();
      width = contentRect.width;
    }).observe(chart.parentNode);
    restore();
  }
}
