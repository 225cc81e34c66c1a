// The work list by keyboard, and kept up to date without a jump.
"use strict";
(function () {
  const pauseMs = 3000;

  function frame() { return document.getElementById("list"); }
  function links() { return Array.from(frame().querySelectorAll("a.open")); }

  function move(step) {
    const all = links();
    const at = all.indexOf(document.activeElement);
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) { return; }
    const key = event.key;
    if (key === "ArrowDown" || key === "j") { move(1); }
    else if (key === "ArrowUp" || key === "k") { move(-1); }
    else if (key === "/") { document.getElementById("patient").focus(); }
    else if (/^[1-4]$/.test(key)) { const tab = frame().querySelector('[data-tab="' + key + '"]'); if (tab) { tab.click(); } }
    else { return; }
    event.preventDefault();
  });

  // Only where nobody types or searches, and the focus stays on the same study.
  function refresh() {
    const shown = frame();
    const search = document.getElementById("patient");
    const idle = !document.hidden && shown.dataset.fingerprint && search.value === "" && document.activeElement !== search && !String(getSelection());
    if (idle) {
      const kept = document.activeElement && document.activeElement.matches("a.open") ? document.activeElement.getAttribute("href") : null;
      const address = new URL(location.href);
      address.searchParams.set("seen", shown.dataset.fingerprint);
      htmx.ajax("GET", address.pathname + address.search, { target: "#list", swap: "outerHTML" }).then(function () {
        const again = kept && links().find(function (link) { return link.getAttribute("href") === kept; });
        if (again) { again.focus({ preventScroll: true }); }
      });
    }
    setTimeout(refresh, pauseMs);
  }
  setTimeout(refresh, pauseMs);
  const first = links()[0];
  if (first && document.activeElement === document.body) { first.focus({ preventScroll: true }); }
})();
