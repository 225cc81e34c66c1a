// The reader's changes: kept here until they are signed, shown at once, measured anew by the server at every step.
"use strict";
(function () {
  const form = document.getElementById("sign");
  if (!form || !document.getElementById("exclude")) { return; }
  const PAUSE_MS = 150;
  const changes = { moved: new Map(), shift: 0, excluded: new Map() };
  const room = readingRoom;
  let timer = null, original = new Map();

  function edits() {
    const moved = [];
    changes.moved.forEach(function (place, id) { const part = id.split(" "); moved.push({ level: part[0], point: part[1], place_lps_mm: place }); });
    const excluded = [];
    changes.excluded.forEach(function (value, level) { excluded.push({ level: level, reason: value.reason, note: value.note }); });
    return { moved: moved, shift: changes.shift, excluded: excluded };
  }

  function isEmpty() { return !changes.moved.size && !changes.shift && !changes.excluded.size; }

  function changed() {
    document.getElementById("edits").value = isEmpty() ? "" : JSON.stringify(edits());
    document.getElementById("accept").hidden = !isEmpty();
    document.getElementById("reject").hidden = !isEmpty();
    document.getElementById("amend").hidden = isEmpty();
    document.getElementById("undo").disabled = isEmpty();
    document.getElementById("shift-text").textContent = changes.shift ? (changes.shift > 0 ? "+" : "−") + Math.abs(changes.shift) : "as read";
    clearTimeout(timer);
    timer = setTimeout(function () { htmx.trigger(document.body, "edited"); }, PAUSE_MS);
  }

  function levelOf(key) { return room.state.levels.find(function (level) { return level.key === key; }); }

  function movePoint(key, point, y, z) {
    const level = levelOf(key), old = original.get(key)[point];
    // The point stays in the vertebra's own mid-sagittal plane: it leans as the line to its partner does.
    const partner = original.get(key)[point.endsWith("superior") ? point.replace("superior", "inferior") : point.replace("inferior", "superior")];
    const lean = Math.abs(old[2] - partner[2]) > 1 ? (old[0] - partner[0]) / (old[2] - partner[2]) : 0;
    const place = [old[0] + lean * (z - old[2]), y, z].map(function (value) { return Math.round(value * 100) / 100; });
    level.points[point] = place;
    level.moved = Object.assign({}, level.moved, { [point]: true });
    changes.moved.set(key + " " + point, place);
    changed();
    room.redraw();
  }

  function pointsBack(key, only) {
    const level = levelOf(key);
    Object.keys(original.get(key) || {}).forEach(function (point) {
      if (only && only !== point) { return; }
      changes.moved.delete(key + " " + point);
      level.points[point] = original.get(key)[point].slice();
      if (level.moved) { delete level.moved[point]; }
    });
    changed();
    room.redraw();
  }

  function showLevel(level) {
    document.getElementById("level-name").textContent = level.name;
    const excluded = changes.excluded.get(level.key);
    document.getElementById("exclude").value = excluded ? excluded.reason : "";
    document.getElementById("exclude-note").value = excluded ? excluded.note : "";
    document.getElementById("exclude").disabled = false;
    document.getElementById("exclude-note").disabled = !excluded;
    document.getElementById("points-back").disabled = !level.points;
  }

  function exclude() {
    const key = room.state.level, reason = document.getElementById("exclude").value;
    if (!key) { return; }
    if (reason) { changes.excluded.set(key, { reason: reason, note: document.getElementById("exclude-note").value.trim() }); }
    else { changes.excluded.delete(key); }
    document.getElementById("exclude-note").disabled = !reason;
    changed();
  }

  document.addEventListener("keydown", function (event) {
    const data = event.target.dataset;
    if (!data || !data.point) { return; }
    const step = event.shiftKey ? 1 : 0.25;
    const by = { ArrowUp: [0, step], ArrowDown: [0, -step], ArrowLeft: [-step, 0], ArrowRight: [step, 0] }[event.key];
    if (by) { const at = levelOf(data.key).points[data.point]; movePoint(data.key, data.point, at[1] + by[0], at[2] + by[1]); }
    else if (event.key === "Delete" || event.key === "Backspace") { pointsBack(data.key, data.point); }
    else { return; }
    event.preventDefault();
    event.stopPropagation();
  }, true);

  document.body.addEventListener("htmx:afterSwap", function (event) {
    if (event.target.id !== "reading") { return; }
    room.readLevels();
    const list = document.getElementById("changes");
    list.replaceChildren.apply(list, JSON.parse(document.getElementById("reading-state").dataset.changes).map(function (text) {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    const level = levelOf(room.state.level);
    if (level) { document.getElementById("level-name").textContent = level.name; }
  });

  document.addEventListener("room-ready", function () {
    room.state.levels.forEach(function (level) {
      if (!level.points) { return; }
      const places = {};
      Object.keys(level.points).forEach(function (point) { places[point] = level.points[point].slice(); });
      original.set(level.key, places);
    });
    room.on("select", showLevel);
    room.on("dragpoint", movePoint);
    if (room.state.level) { showLevel(levelOf(room.state.level)); }
    form.querySelector(".tools").disabled = false;
  });

  form.querySelectorAll("[data-shift]").forEach(function (button) {
    button.addEventListener("click", function () {
      changes.shift = Math.min(Math.max(changes.shift + Number(button.dataset.shift), -2), 2);
      changed();
    });
  });
  document.getElementById("exclude").addEventListener("change", exclude);
  document.getElementById("exclude-note").addEventListener("change", exclude);
  document.getElementById("points-back").addEventListener("click", function () { if (room.state.level) { pointsBack(room.state.level); } });
  document.getElementById("undo").addEventListener("click", function () {
    original.forEach(function (_places, key) { pointsBack(key); });
    changes.shift = 0;
    changes.excluded.clear();
    if (room.state.level) { showLevel(levelOf(room.state.level)); }
    changed();
  });
  window.addEventListener("beforeunload", function (event) { if (!isEmpty() && !form.dataset.sent) { event.preventDefault(); } });
  form.addEventListener("submit", function () { form.dataset.sent = "yes"; });
  document.body.addEventListener("htmx:responseError", function () { delete form.dataset.sent; });
})();
