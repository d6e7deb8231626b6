"use strict";
// All of the report can be read without this: it sorts, filters, and opens what a link leads to.
(() => {
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const box = target && target.closest("details");
    if (box) { box.open = true; target.scrollIntoView({block: "center"}); }
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest('a[href="' + location.hash + '"]');
    if (link && location.hash) open();
  });
  open();
  // A table that is cut off at the right says so.
  const wide = [...document.querySelectorAll(".wide > .scroll")];
  const cue = () => wide.forEach((box) => {
    box.parentElement.classList.toggle("cut", box.scrollWidth > box.clientWidth + 2);
  });
  addEventListener("resize", cue);
  document.addEventListener("toggle", cue, true);
  cue();
  const table = document.getElementById("results");
  if (!table) return;
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim();
    return text === "" || isNaN(text) ? text : Number(text);
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      [...table.tHead.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort((x, y) => {
        const empty = (x[0] === "") - (y[0] === "");
        return empty || (down ? -1 : 1) * compare(x[0], y[0]);
      });
      body.append(...rows.map((pair) => pair[1]));
    });
  });
  const filter = document.getElementById("filter");
  if (filter) {
    const texts = [...body.rows].map((row) => [row, row.textContent.toLowerCase()]);
    const shown = document.getElementById("shown");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [row, text] of texts) {
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) count += 1;
      }
      shown.textContent = count + " of " + texts.length + " rows";
    });
  }
})();
