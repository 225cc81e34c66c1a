// Sends the beginning of each chosen DICOM file, where its header is: the decision needs no pixels.
"use strict";
(function () {
  const form = document.getElementById("try-rules"), said = document.getElementById("progress");
  const inputs = [document.getElementById("folder"), document.getElementById("files")];
  const mostBytes = Number(form.dataset.mostBytes) * 0.9, mostFiles = Number(form.dataset.mostFiles), usualBytes = 256 * 1024;

  async function isDicom(file) {
    return String.fromCharCode.apply(null, new Uint8Array(await file.slice(128, 132).arrayBuffer())) === "DICM";
  }

  form.addEventListener("submit", async function (event) {
    event.preventDefault();
    const chosen = inputs.flatMap(function (input) { return Array.from(input.files); });
    const files = [];
    for (const file of chosen) { if (await isDicom(file)) { files.push(file); } }
    if (!files.length) { said.textContent = chosen.length ? "None of these is a DICOM file." : "Choose files first."; return; }
    if (files.length > mostFiles) { said.textContent = "More than " + mostFiles + " files: choose one study."; return; }
    // A single multi-frame file may have a header of many megabytes.
    const each = Math.min(Math.floor(mostBytes / files.length), files.length > 20 ? usualBytes : mostBytes);
    const body = new FormData();
    files.forEach(function (file) { body.append("files", file.slice(0, each), "file"); });
    body.append("rules", document.getElementById("rules").value);
    said.textContent = "Sending " + files.length + " headers …";
    document.getElementById("look").disabled = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: body });
      const html = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!html.getElementById("main")) { throw new Error("the service answered " + answer.status); }
      document.getElementById("main").querySelectorAll(".refused, section").forEach(function (old) { old.remove(); });
      html.getElementById("main").querySelectorAll(":scope > .refused, :scope > section").forEach(function (fresh) { form.after(fresh); });
      said.textContent = files.length + " files looked at.";
    } catch (error) {
      said.textContent = "Not sent: " + error.message;
    }
    document.getElementById("look").disabled = false;
  });
})();
