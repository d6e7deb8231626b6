"use strict";
// Puts the parts of the page that changed in their places, as the server sends them.
(() => {
  const state = document.getElementById("live");
  const words = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 90) return whole + " s";
    const minutes = Math.round(whole / 60);
    if (minutes < 60) return minutes + " min";
    return Math.floor(minutes / 60) + " h" + (minutes % 60 ? " " + (minutes % 60) + " min" : "");
  };
  const tick = () => {
    const now = Date.now() / 1000;
    for (const each of document.querySelectorAll("[data-since]")) {
      each.textContent = words(now - Number(each.dataset.since));
    }
  };
  setInterval(tick, 1000);
  tick();
  if (!state || !state.dataset.live) return;
  const source = new EventSource(state.dataset.live);
  source.onopen = () => { state.textContent = ""; };
  source.onerror = () => { state.textContent = "The server does not answer; trying again …"; };
  source.onmessage = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = document.getElementById(id);
      if (!part) { location.reload(); return; } // a board came to the run
      const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
      part.innerHTML = html;
      if (focused) {
        const again = [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
        if (again) again.focus({preventScroll: true});
      }
    }
    tick();
  };
  source.addEventListener("over", () => {
    state.textContent = "The run has ended.";
    if (!state.dataset.live.includes("now=1")) source.close();
  });
  source.addEventListener("reload", () => { source.close(); location.reload(); });
})();
