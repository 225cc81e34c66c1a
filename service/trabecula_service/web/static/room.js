// What every page has: errors of partial updates are said, a lost connection is shown, the reader's name is remembered on this machine.
"use strict";
(function () {
  const problem = document.getElementById("problem");

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  document.body.addEventListener("htmx:responseError", function (event) {
    let text = event.detail.xhr.responseText;
    try { text = JSON.parse(text).detail; } catch (error) { /* not one of our problems: shown as it is */ }
    say(text || "The service refused (" + event.detail.xhr.status + ").");
  });
  document.body.addEventListener("htmx:sendError", function () { say("No connection to the service; what you see may be old."); });
  document.body.addEventListener("htmx:afterOnLoad", function (event) { if (event.detail.xhr.status < 400) { say(""); } });

  // The page of a study is loaded anew when a version that was being made is there, but never under the reader's hands.
  document.body.addEventListener("htmx:afterSwap", function (event) {
    const standing = document.getElementById("standing");
    const edits = document.getElementById("edits");
    const earlier = new URLSearchParams(location.search).has("version");
    if (!standing || earlier || event.target.id === "reading" || (edits && edits.value)) { return; }
    const ended = !["receiving", "settled", "queued", "running", "measured"].includes(standing.dataset.state);
    if (ended && standing.dataset.version !== document.body.dataset.version) { location.reload(); }
  });
  const standing = document.getElementById("standing");
  if (standing) { document.body.dataset.version = standing.dataset.shown; }

  const reader = document.getElementById("reader");
  if (reader) {
    reader.value = reader.value || localStorage.getItem("reader") || "";
    reader.addEventListener("change", function () { localStorage.setItem("reader", reader.value); });
    document.getElementById("sign").addEventListener("submit", function (event) {
      const rejecting = event.submitter && event.submitter.value === "rejected";
      const reason = document.getElementById("reason");
      reason.setCustomValidity(rejecting && !reason.value.trim() ? "Say why the reading is rejected." : "");
      if (!event.target.reportValidity()) { event.preventDefault(); event.stopImmediatePropagation(); }
    }, true);
    document.getElementById("reason").addEventListener("input", function (event) { event.target.setCustomValidity(""); });
  }
})();
