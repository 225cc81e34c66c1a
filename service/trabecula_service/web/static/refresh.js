// Keeps the page up to date without a jump: fetches the same address and swaps the main part in when it has changed.
"use strict";
(function () {
  const pauseMs = 3000;
  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById("live");
          const shown = document.getElementById("live");
          if (fresh && fresh.innerHTML !== shown.innerHTML && !String(getSelection())) {
            shown.replaceWith(document.adoptNode(fresh));
          }
          document.body.classList.remove("stale");
        } else {
          document.body.classList.add("stale");
        }
      } catch (error) {
        document.body.classList.add("stale");
      }
    }
    setTimeout(refresh, pauseMs);
  }
  setTimeout(refresh, pauseMs);
})();
