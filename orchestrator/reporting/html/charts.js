"use strict";
// Draws the charts from the specifications in the page. Vega's expressions are interpreted, not
// compiled: the page's policy allows no code made from text.
(() => {
  const AXES = 48; // pixels below a drawing
  const PAPER = 700; // pixels across a printed page
  const text = "var(--ink)", faint = "var(--faint)", grid = "var(--grid)";
  const config = (narrow) => ({
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    view: {stroke: null},
    axis: {
      labelColor: text, titleColor: text, labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal", gridColor: grid, domainColor: faint, tickColor: faint,
      titlePadding: 8,
    },
    axisY: narrow ? {labelLimit: 120} : {},
    axisX: {labelOverlap: "greedy", tickCount: narrow ? 4 : 8},
  });
  const tooltip = document.createElement("div");
  tooltip.className = "tip";
  tooltip.hidden = true;
  document.body.append(tooltip);
  const show = (_, event, item, value) => {
    const said = item && item.datum && item.datum.tip;
    tooltip.hidden = !said || value === null || value === undefined || value === "";
    if (tooltip.hidden) return;
    tooltip.textContent = said;
    const box = tooltip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8);
    const above = event.clientY + 18 + box.height > innerHeight;
    tooltip.style.left = Math.max(4, left) + "px";
    tooltip.style.top = (above ? event.clientY - box.height - 12 : event.clientY + 16) + "px";
  };
  const views = [];
  const logger = vega.logger(vega.Warn, "error");
  const draw = (figure) => {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = "yes";
    const host = figure.querySelector(".chart > div");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const narrow = host.clientWidth < 560;
    // Names of rows leave the drawing at least half of a narrow screen.
    if (narrow) for (const part of spec.layer) {
      const axis = part.encoding && part.encoding.y && part.encoding.y.axis;
      if (axis && axis.labelLimit) axis.labelLimit = Math.round(host.clientWidth / 3);
    }
    spec.config = config(narrow);
    const compiled = vegaLite.compile(spec, {logger});
    const runtime = vega.parse(compiled.spec, null, {ast: true});
    host.style.minHeight = "";
    const view = new vega.View(runtime, {
      expr: vegaInterpreter.expressionInterpreter, renderer: "svg", container: host, logger,
      tooltip: show,
    });
    view.run();
    views.push([view, host]);
    const off = new Set();
    for (const button of figure.querySelectorAll(".legend button")) {
      button.addEventListener("click", () => {
        const place = Number(button.dataset.s);
        if (off.has(place)) off.delete(place); else off.add(place);
        button.setAttribute("aria-pressed", String(!off.has(place)));
        view.signal("off", [...off]).run();
      });
    }
  };
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  // A chart is drawn when it comes near the screen: hundreds of rows open as fast as a few.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, {rootMargin: "400px"});
  for (const figure of figures) {
    const host = figure.querySelector(".chart > div");
    host.style.minHeight = Number(host.dataset.height) + AXES + "px"; // nothing moves when it comes
    near.observe(figure);
  }
  // Drawn for the paper's width: shrunk from a screen's, nobody could read the letters.
  const widen = (most) => views.forEach(([view, host]) => {
    view.width(Math.min(host.clientWidth, most)).run();
  });
  addEventListener("beforeprint", () => { figures.forEach(draw); widen(PAPER); });
  addEventListener("afterprint", () => widen(Infinity));
  addEventListener("keydown", (event) => { if (event.key === "Escape") tooltip.hidden = true; });
})();
