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
  // A browser has six connections to a server: a tab that nobody sees keeps none.
  let source = null, over = false, last = "";
  const connect = () => {
    if (source || over || document.hidden) return;
    const since = last && "&since=" + last; // the last of two counts
    source = new EventSource(state.dataset.live + since);
    source.onopen = () => { state.textContent = ""; };
    source.onerror = () => { state.textContent = "The server does not answer; trying again …"; };
    source.onmessage = (event) => { last = event.lastEventId; show(JSON.parse(event.data)); };
    source.addEventListener("over", () => {
      state.textContent = "The run has ended.";
      if (state.dataset.live.includes("now=1")) return;
      over = true;
      disconnect();
    });
    source.addEventListener("reload", () => { disconnect(); location.reload(); });
  };
  const disconnect = () => { if (source) source.close(); source = null; };
  const show = (parts) => {
    for (const [id, html] of Object.entries(parts)) {
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
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(); });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  connect();
})();
