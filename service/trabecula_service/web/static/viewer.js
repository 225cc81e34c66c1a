// The pictures of the reading room. Planes come as 16-bit HU with labels; window, outlines and points are drawn here.
"use strict";
const readingRoom = (function () {
  const room = document.getElementById("room");
  const address = room.dataset.images;
  const MOST_PLANES = 900;         // about 150 kB each
  const PREFETCH = 16;             // planes ahead in the direction of scrolling, half as many behind
  const AT_ONCE = 4;               // requests at the same time
  const GRADE_COLOURS = { 0: [225, 240, 255], 1: [255, 226, 64], 2: [255, 150, 40], 3: [255, 70, 70] };
  const NOT_GRADED = [190, 200, 210], OTHER = [120, 180, 150];
  const SVG = "http://www.w3.org/2000/svg";

  const state = { center: 250, width: 1100, masks: true, points: true, level: null, cursor: [0, 0, 0], levels: [] };
  const views = {};
  const planes = new Map();
  const waiting = [];
  const listeners = { select: [], dragpoint: [] };
  let running = 0, manifest = null, focused = "axial", frames = 0;

  // --- planes -------------------------------------------------------------------------------------------------------------------

  function key(name, index) { return name + "/" + index; }

  async function fetchPlane(name, index) {
    const stack = manifest.stacks[name];
    const answer = await fetch(address + "/" + key(name, index));
    if (!answer.ok) { throw new Error("image " + answer.status); }
    const bytes = await answer.arrayBuffer();
    const count = stack.rows * stack.columns;
    return { hu: new Int16Array(bytes, 0, count), labels: new Uint8Array(bytes, 2 * count, count) };
  }

  function want(name, index, first) {
    const id = key(name, index);
    if (index < 0 || index >= manifest.stacks[name].count || planes.has(id)) { return; }
    const at = waiting.findIndex(function (entry) { return entry.id === id; });
    if (at >= 0) { if (!first) { return; } waiting.splice(at, 1); }
    waiting[first ? "unshift" : "push"]({ id: id, name: name, index: index });
    pump();
  }

  function pump() {
    while (running < AT_ONCE && waiting.length) {
      const next = waiting.shift();
      if (planes.has(next.id)) { continue; }
      planes.set(next.id, null);
      running += 1;
      fetchPlane(next.name, next.index).then(function (plane) {
        planes.set(next.id, plane);
        while (planes.size > MOST_PLANES) { planes.delete(planes.keys().next().value); }
        const view = views[next.name];
        if (view && view.index === next.index) { schedule(view); }
      }, function () {
        planes.delete(next.id);
      }).finally(function () { running -= 1; pump(); });
    }
  }

  function prefetch(view, direction) {
    // What was wanted around an earlier place is no longer.
    for (let i = waiting.length - 1; i >= 0; i -= 1) { if (waiting[i].name === view.name) { waiting.splice(i, 1); } }
    want(view.name, view.index, true);
    for (let i = 1; i <= PREFETCH; i += 1) {
      want(view.name, view.index + i * direction, false);
      if (2 * i <= PREFETCH) { want(view.name, view.index - i * direction, false); }
    }
  }

  // --- geometry: pixels of a view and LPS millimetres ------------------------------------------------------------------------------

  function curve(z) {
    const c = manifest.centers_lps_mm;
    if (!c.length) { return [0, 0]; }
    if (z <= c[0][2]) { return [c[0][0], c[0][1]]; }
    for (let i = 1; i < c.length; i += 1) {
      if (z <= c[i][2]) {
        const share = (z - c[i - 1][2]) / ((c[i][2] - c[i - 1][2]) || 1);
        return [0, 1].map(function (axis) { return c[i - 1][axis] + share * (c[i][axis] - c[i - 1][axis]); });
      }
    }
    return [c[c.length - 1][0], c[c.length - 1][1]];
  }

  function toPixel(view, point) {
    const s = view.stack;
    if (view.name === "axial") { return [(point[0] - s.first_mm[0]) / s.pixel_mm[0], (point[1] - s.first_mm[1]) / s.pixel_mm[1]]; }
    return [(point[s.axis] - s.first_mm) / s.pixel_mm[0], (s.top_mm - point[2]) / s.pixel_mm[1]];
  }

  function toLps(view, column, row) {
    const s = view.stack;
    if (view.name === "axial") { return [s.first_mm[0] + column * s.pixel_mm[0], s.first_mm[1] + row * s.pixel_mm[1], s.z_mm[view.index]]; }
    const z = s.top_mm - row * s.pixel_mm[1], along = s.first_mm + column * s.pixel_mm[0];
    const middle = curve(z), offset = s.offsets_mm[view.index];
    return view.name === "sagittal" ? [middle[0] + offset, along, z] : [along, middle[1] + offset, z];
  }

  function nearest(values, wanted) {
    let best = 0;
    for (let i = 1; i < values.length; i += 1) { if (Math.abs(values[i] - wanted) < Math.abs(values[best] - wanted)) { best = i; } }
    return best;
  }

  function goTo(point) {
    state.cursor = point.slice();
    const middle = curve(point[2]);
    setIndex(views.axial, nearest(views.axial.stack.z_mm, point[2]), true);
    setIndex(views.sagittal, nearest(views.sagittal.stack.offsets_mm, point[0] - middle[0]), true);
    setIndex(views.coronal, nearest(views.coronal.stack.offsets_mm, point[1] - middle[1]), true);
  }

  function setIndex(view, index, quiet) {
    const bounded = Math.min(Math.max(index, 0), view.stack.count - 1);
    const direction = bounded < view.index ? -1 : 1;
    view.index = bounded;
    if (!quiet) {
      const middle = curve(state.cursor[2]);
      if (view.name === "axial") { state.cursor[2] = view.stack.z_mm[bounded]; }
      if (view.name === "sagittal") { state.cursor[0] = middle[0] + view.stack.offsets_mm[bounded]; }
      if (view.name === "coronal") { state.cursor[1] = middle[1] + view.stack.offsets_mm[bounded]; }
      redraw();
    } else {
      schedule(view);
    }
    prefetch(view, direction);
  }

  // --- drawing ----------------------------------------------------------------------------------------------------------------------

  function schedule(view) {
    if (view.scheduled) { return; }
    view.scheduled = true;
    requestAnimationFrame(function () { view.scheduled = false; draw(view); });
  }

  function redraw() { Object.values(views).forEach(schedule); }

  function colourTable() {
    const table = new Array(256).fill(OTHER);
    state.levels.forEach(function (level) {
      const label = manifest.labels[level.key];
      if (label) { table[label] = level.grade === null ? NOT_GRADED : GRADE_COLOURS[level.grade]; }
    });
    return table;
  }

  function draw(view) {
    const plane = planes.get(key(view.name, view.index));
    if (plane) { paint(view, plane); view.painted = view.index; frames += 1; }
    overlay(view);
    const s = view.stack;
    const place = view.name === "axial" ? "z " + s.z_mm[view.index].toFixed(1) + " mm" : "plane " + (s.offsets_mm[view.index] > 0 ? "+" : "") + s.offsets_mm[view.index] + " mm";
    view.output.textContent = place + " · " + (view.index + 1) + "/" + s.count;
  }

  function paint(view, plane) {
    const columns = view.stack.columns, rows = view.stack.rows;
    const low = state.center - state.width / 2, scale = 255 / state.width;
    const pixels = view.image.data, hu = plane.hu, labels = plane.labels;
    const colours = colourTable(), chosen = state.level === null ? 0 : manifest.labels[state.level];
    for (let i = 0, o = 0; i < hu.length; i += 1, o += 4) {
      const grey = (hu[i] - low) * scale;
      let r = grey < 0 ? 0 : grey > 255 ? 255 : grey, g = r, b = r;
      const label = labels[i];
      if (label && state.masks) {
        const edge = labels[i - 1] !== label || labels[i + 1] !== label || labels[i - columns] !== label || labels[i + columns] !== label;
        const share = edge ? 0.8 : label === chosen ? 0.14 : 0;
        if (share) {
          const c = colours[label];
          r += share * (c[0] - r); g += share * (c[1] - g); b += share * (c[2] - b);
        }
      }
      pixels[o] = r; pixels[o + 1] = g; pixels[o + 2] = b;
    }
    view.sheet.getContext("2d").putImageData(view.image, 0, 0);
    const context = view.canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(view.sheet, 0, 0, columns, rows, 0, 0, view.canvas.width, view.canvas.height);
  }

  function element(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (attribute) { made.setAttribute(attribute, attributes[attribute]); });
    if (text) { made.textContent = text; }
    return made;
  }

  // Overlays are drawn in screen pixels, so that points and letters have one size at every magnification.
  function screen(view, point) {
    const p = toPixel(view, point);
    return [(p[0] + 0.5) * view.scale[0], (p[1] + 0.5) * view.scale[1]];
  }

  function overlay(view) {
    const parts = [];
    const cursor = screen(view, state.cursor);
    parts.push(element("line", { class: "cursor", x1: 0, x2: view.size[0], y1: cursor[1], y2: cursor[1] }));
    parts.push(element("line", { class: "cursor", x1: cursor[0], x2: cursor[0], y1: 0, y2: view.size[1] }));
    letters(view, parts);
    if (view.name === "axial") { axialName(view, parts); } else { state.levels.forEach(function (level) { levelName(view, level, parts); }); }
    if (view.name === "sagittal" && state.points) { state.levels.forEach(function (level) { levelPoints(view, level, parts); }); }
    const focus = document.activeElement, kept = focus && focus.dataset && focus.dataset.point ? [focus.dataset.key, focus.dataset.point] : null;
    // A point that is being dragged must stay the element that holds the pointer.
    if (view.dragging) { moveDragged(view); return; }
    view.svg.replaceChildren.apply(view.svg, parts);
    if (kept && view.name === "sagittal") {
      const again = view.svg.querySelector('[data-key="' + kept[0] + '"][data-point="' + kept[1] + '"]');
      if (again) { again.focus({ preventScroll: true }); }
    }
  }

  function letters(view, parts) {
    const sides = view.name === "sagittal" ? ["A", "P", "S", "I"] : view.name === "coronal" ? ["R", "L", "S", "I"] : ["R", "L", "A", "P"];
    const w = view.size[0], h = view.size[1];
    [[10, h / 2], [w - 10, h / 2], [w / 2, 14], [w / 2, h - 6]].forEach(function (place, i) {
      parts.push(element("text", { class: "side", x: place[0], y: place[1], "text-anchor": "middle" }, sides[i]));
    });
  }

  function levelName(view, level, parts) {
    const at = screen(view, level.center);
    const x = at[0] + (view.name === "sagittal" ? -26 : 29) / view.stack.pixel_mm[0] * view.scale[0];
    parts.push(element("text", {
      class: "name grade" + (level.grade === null ? "n" : level.grade) + (level.key === state.level ? " chosen" : ""),
      x: Math.min(Math.max(x, 14), view.size[0] - 14), y: at[1] + 4, "text-anchor": "middle", "data-select": level.key,
    }, level.name));
  }

  function axialName(view, parts) {
    const z = view.stack.z_mm[view.index];
    let best = null;
    state.levels.forEach(function (level) { if (!best || Math.abs(level.center[2] - z) < Math.abs(best.center[2] - z)) { best = level; } });
    if (best && Math.abs(best.center[2] - z) < 20) {
      parts.push(element("text", { class: "name big grade" + (best.grade === null ? "n" : best.grade), x: 12, y: 24 }, best.name));
    }
  }

  function levelPoints(view, level, parts) {
    if (!level.points) { return; }
    Object.keys(level.points).forEach(function (name) {
      const at = screen(view, level.points[name]);
      const chosen = level.key === state.level;
      const moved = level.moved && level.moved[name];
      // The ring to grab is larger than the dot to see.
      const group = element("g", {
        class: "point" + (chosen ? " chosen" : "") + (moved ? " moved" : ""), transform: "translate(" + at[0] + " " + at[1] + ")",
        "data-key": level.key, "data-point": name, tabindex: chosen ? "0" : "-1", role: "button",
        "aria-label": level.name + " " + name.replace("_", " ") + (moved ? ", moved" : ""),
      });
      group.append(element("circle", { class: "grab", r: 9 }), element("circle", { class: "dot", r: 3.2 }));
      parts.push(group);
    });
  }

  function moveDragged(view) {
    const level = state.levels.find(function (entry) { return entry.key === view.dragging.key; });
    const at = screen(view, level.points[view.dragging.point]);
    view.dragging.node.setAttribute("transform", "translate(" + at[0] + " " + at[1] + ")");
  }

  // --- sizes ------------------------------------------------------------------------------------------------------------------------

  function layOut() {
    const box = room.querySelector(".planes");
    const gap = 12, width = box.clientWidth - 2 * gap;
    // The page is being left, or printed: nothing to lay out.
    if (width < 200) { return; }
    const shape = function (view) { return view.stack.columns * view.stack.pixel_mm[0] / (view.stack.rows * view.stack.pixel_mm[1]); };
    const s = shape(views.sagittal), c = shape(views.coronal), a = shape(views.axial);
    let height = Math.min(Math.max(0.68 * innerHeight, 420), 980);
    const least = Math.min(340, 0.34 * width);
    height = Math.min(height, (width - least) / (s + c));
    const rest = Math.min(width - height * (s + c), height * a);
    [[views.sagittal, height * s, height], [views.coronal, height * c, height], [views.axial, rest, rest / a]].forEach(function (entry) {
      const view = entry[0], ratio = devicePixelRatio || 1;
      view.size = [Math.floor(entry[1]), Math.floor(entry[2])];
      view.scale = [view.size[0] / view.stack.columns, view.size[1] / view.stack.rows];
      view.frame.style.width = view.size[0] + "px";
      view.frame.style.height = view.size[1] + "px";
      view.canvas.width = Math.round(view.size[0] * ratio);
      view.canvas.height = Math.round(view.size[1] * ratio);
      view.svg.setAttribute("viewBox", "0 0 " + view.size[0] + " " + view.size[1]);
    });
    redraw();
  }

  // --- pointer and keys -------------------------------------------------------------------------------------------------------------

  function lpsOfEvent(view, event) {
    const box = view.frame.getBoundingClientRect();
    return toLps(view, (event.clientX - box.left) / view.scale[0] - 0.5, (event.clientY - box.top) / view.scale[1] - 0.5);
  }

  function listen(view) {
    const frame = view.frame;
    let wheel = 0;
    frame.addEventListener("wheel", function (event) {
      event.preventDefault();
      wheel += event.deltaY;
      const steps = Math.trunc(wheel / 40) || Math.sign(event.deltaY) * (Math.abs(event.deltaY) >= 4 ? 1 : 0);
      if (steps) { wheel = 0; setIndex(view, view.index + Math.sign(steps) * Math.min(Math.abs(steps), 5)); }
    }, { passive: false });
    frame.addEventListener("focus", function () { focused = view.name; });
    frame.addEventListener("contextmenu", function (event) { event.preventDefault(); });
    frame.addEventListener("pointerdown", function (event) {
      const name = event.target.dataset ? event.target.dataset.select : null;
      if (name) { select(name); return; }
      const node = event.target.closest ? event.target.closest("[data-point]") : null;
      if (node && event.button === 0) { select(node.dataset.key, true); startPoint(view, node.dataset.key, node.dataset.point, event); return; }
      focused = view.name;
      if (event.button === 2 || event.shiftKey) { drag(frame, event, windowDrag(event)); return; }
      if (event.button === 0) { const go = function (e) { goTo(lpsOfEvent(view, e)); redraw(); }; go(event); drag(frame, event, go); }
    });
  }

  function drag(target, event, move, end) {
    target.setPointerCapture(event.pointerId);
    const stop = function () {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", stop);
      target.removeEventListener("pointercancel", stop);
      if (end) { end(); }
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", stop);
    target.addEventListener("pointercancel", stop);
  }

  function windowDrag(start) {
    const center = state.center, width = state.width;
    return function (event) { setWindow(center + 2 * (event.clientY - start.clientY), width + 4 * (event.clientX - start.clientX)); };
  }

  function startPoint(view, levelKey, point, event) {
    if (!listeners.dragpoint.length) { return; }
    const node = view.svg.querySelector('[data-key="' + levelKey + '"][data-point="' + point + '"]');
    if (!node) { return; }
    node.focus({ preventScroll: true });
    view.dragging = { key: levelKey, point: point, node: node };
    drag(view.frame, event, function (moved) {
      const to = lpsOfEvent(view, moved);
      listeners.dragpoint.forEach(function (listener) { listener(levelKey, point, to[1], to[2]); });
      schedule(view);
    }, function () { view.dragging = null; redraw(); });
  }

  function setWindow(center, width) {
    state.center = Math.round(Math.min(Math.max(center, -1000), 3000));
    state.width = Math.round(Math.min(Math.max(width, 20), 4000));
    document.getElementById("window-center").value = state.center;
    document.getElementById("window-width").value = state.width;
    document.getElementById("window-text").textContent = state.center + " / " + state.width;
    redraw();
  }

  function select(levelKey, stay) {
    const level = state.levels.find(function (entry) { return entry.key === levelKey; });
    if (!level) { return; }
    state.level = levelKey;
    document.querySelectorAll("tr[data-level]").forEach(function (row) {
      row.toggleAttribute("aria-current", row.dataset.level === levelKey);
    });
    if (!stay) { goTo(level.center); setIndex(views.sagittal, views.sagittal.stack.middle, true); setIndex(views.coronal, views.coronal.stack.middle, true); }
    listeners.select.forEach(function (listener) { listener(level); });
    redraw();
  }

  function step(by) {
    const at = state.levels.findIndex(function (level) { return level.key === state.level; });
    const next = state.levels[at < 0 ? 0 : Math.min(Math.max(at + by, 0), state.levels.length - 1)];
    if (next) { select(next.key); }
  }

  function keys(event) {
    const help = document.getElementById("help");
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.target.matches("input, textarea, select, button.main, button.danger")) { return; }
    const onPoint = event.target.dataset && event.target.dataset.point;
    const presets = { "1": [250, 1100], "2": [400, 2000], "3": [40, 400] };
    if (event.key === "Escape") { location.href = "/"; }
    else if (event.key === "j" || event.key === "]") { step(1); }
    else if (event.key === "k" || event.key === "[") { step(-1); }
    else if (event.key === "m" || event.key === "p") { const box = document.getElementById(event.key === "m" ? "show-masks" : "show-points"); box.click(); }
    else if (presets[event.key]) { setWindow.apply(null, presets[event.key]); }
    else if (event.key === "?") { help.showModal(); }
    else if (!onPoint && (event.key === "ArrowUp" || event.key === "ArrowDown")) { setIndex(views[focused], views[focused].index + (event.key === "ArrowUp" ? -1 : 1)); }
    else { return; }
    event.preventDefault();
  }

  // --- what the server says of the levels -----------------------------------------------------------------------------------------

  function readLevels() {
    const moved = new Map(state.levels.map(function (level) { return [level.key, level.moved]; }));
    state.levels = JSON.parse(document.getElementById("reading-state").dataset.levels);
    state.levels.forEach(function (level) { level.moved = moved.get(level.key); });
    document.querySelectorAll("tr[data-level]").forEach(function (row) { row.toggleAttribute("aria-current", row.dataset.level === state.level); });
    redraw();
  }

  async function start() {
    const answer = await fetch(address + "/manifest.json");
    if (!answer.ok) { document.getElementById("problem").textContent = "The pictures cannot be loaded."; document.getElementById("problem").hidden = false; return; }
    manifest = await answer.json();
    ["sagittal", "coronal", "axial"].forEach(function (name) {
      const figure = room.querySelector('[data-view="' + name + '"]');
      const stack = manifest.stacks[name];
      const sheet = document.createElement("canvas");
      sheet.width = stack.columns; sheet.height = stack.rows;
      const image = new ImageData(stack.columns, stack.rows);
      for (let i = 3; i < image.data.length; i += 4) { image.data[i] = 255; }
      views[name] = {
        name: name, stack: stack, index: name === "axial" ? 0 : stack.middle, image: image, sheet: sheet, painted: -1,
        frame: figure.querySelector(".frame"), canvas: figure.querySelector("canvas"), svg: figure.querySelector("svg"), output: figure.querySelector("output"),
      };
      listen(views[name]);
    });
    readLevels();
    layOut();
    const worst = state.levels.slice().sort(function (a, b) { return (b.grade || 0) - (a.grade || 0); })[0];
    const first = worst && worst.grade ? worst : state.levels.find(function (level) { return level.key === "L1"; }) || state.levels[0];
    if (first) { select(first.key); }
    new ResizeObserver(layOut).observe(room.querySelector(".planes"));
    document.addEventListener("keydown", keys);
    document.addEventListener("click", function (event) { const button = event.target.closest("button.level"); if (button) { select(button.dataset.level); } });
    document.querySelectorAll("[data-window]").forEach(function (button) {
      button.addEventListener("click", function () { const values = button.dataset.window.split(",").map(Number); setWindow(values[0], values[1]); });
    });
    document.getElementById("window-center").addEventListener("input", function (event) { setWindow(Number(event.target.value), state.width); });
    document.getElementById("window-width").addEventListener("input", function (event) { setWindow(state.center, Number(event.target.value)); });
    document.getElementById("show-masks").addEventListener("change", function (event) { state.masks = event.target.checked; redraw(); });
    document.getElementById("show-points").addEventListener("change", function (event) { state.points = event.target.checked; redraw(); });
    document.getElementById("help-open").addEventListener("click", function () { document.getElementById("help").showModal(); });
    room.dataset.ready = "yes";
    document.dispatchEvent(new Event("room-ready"));
  }

  document.addEventListener("DOMContentLoaded", start);
  return {
    state: state, views: views, redraw: redraw, readLevels: readLevels, setIndex: setIndex, select: select,
    on: function (event, listener) { listeners[event].push(listener); },
    frames: function () { return frames; },
  };
})();
