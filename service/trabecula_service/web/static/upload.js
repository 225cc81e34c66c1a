// Sends chosen DICOM files by STOW-RS, some megabytes at a time, so that one bad file or a broken line costs little.
"use strict";
(function () {
  const MOST_BYTES = 16 * 1024 * 1024, MOST_FILES = 100, MOST_NAMED = 20;
  const counts = { sent: 0, stored: 0, refused: 0, other: 0, all: 0 };
  const inputs = [document.getElementById("folder"), document.getElementById("files")];

  function batches(files) {
    const found = [];
    let batch = [], size = 0;
    files.forEach(function (file) {
      if (batch.length && (size + file.size > MOST_BYTES || batch.length >= MOST_FILES)) { found.push(batch); batch = []; size = 0; }
      batch.push(file);
      size += file.size;
    });
    if (batch.length) { found.push(batch); }
    return found;
  }

  async function isDicom(file) {
    const head = new Uint8Array(await file.slice(128, 132).arrayBuffer());
    return String.fromCharCode.apply(null, head) === "DICM";
  }

  function show() {
    document.getElementById("bar").hidden = false;
    document.getElementById("bar").value = counts.all ? counts.sent / counts.all : 0;
    document.getElementById("progress").textContent = counts.sent + " of " + counts.all + " files sent, " + counts.stored + " stored" +
      (counts.refused ? ", " + counts.refused + " refused" : "") + (counts.other ? ", " + counts.other + " are no DICOM files" : "");
  }

  function complain(text) {
    const list = document.getElementById("refused");
    if (list.children.length >= MOST_NAMED) { return; }
    const item = document.createElement("li");
    item.textContent = text;
    list.append(item);
  }

  async function send(batch) {
    const boundary = "part" + crypto.getRandomValues(new Uint32Array(4)).join("");
    const parts = [];
    batch.forEach(function (file) { parts.push("--" + boundary + "\r\nContent-Type: application/dicom\r\n\r\n", file, "\r\n"); });
    parts.push("--" + boundary + "--\r\n");
    const answer = await fetch("/dicom-web/studies", {
      method: "POST", body: new Blob(parts), headers: { "Content-Type": 'multipart/related; type="application/dicom"; boundary=' + boundary },
    });
    if (![200, 202, 409].includes(answer.status)) {
      let text = "the service refused (" + answer.status + ")";
      try { text = (await answer.json()).detail; } catch (error) { /* not one of our problems */ }
      throw new Error(text);
    }
    const said = await answer.json();
    const stored = said["00081199"] ? said["00081199"].Value.length : 0;
    const failed = said["00081198"] ? said["00081198"].Value : [];
    counts.stored += stored;
    counts.refused += failed.length;
    failed.forEach(function (item) {
      complain("refused with 0x" + item["00081197"].Value[0].toString(16).toUpperCase() + ": object " + (item["00081155"].Value[0] || "without a UID"));
    });
  }

  async function run(files) {
    inputs.forEach(function (input) { input.disabled = true; });
    document.getElementById("refused").replaceChildren();
    Object.assign(counts, { sent: 0, stored: 0, refused: 0, other: 0, all: 0 });
    const wanted = [];
    for (const file of files) { if (await isDicom(file)) { wanted.push(file); } else { counts.other += 1; } }
    counts.all = wanted.length;
    show();
    try {
      for (const batch of batches(wanted)) { await send(batch); counts.sent += batch.length; show(); }
    } catch (error) {
      complain("Stopped: " + error.message + ". Choose the files again to go on; what is stored already is not stored twice.");
    }
    document.getElementById("done").hidden = counts.stored === 0;
    inputs.forEach(function (input) { input.disabled = false; input.value = ""; });
  }

  inputs.forEach(function (input) { input.addEventListener("change", function () { if (input.files.length) { run(Array.from(input.files)); } }); });
})();
