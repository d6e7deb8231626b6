"use strict";
// Reads a file of the visitor's into the text that the form sends.
(() => {
  const pick = document.getElementById("pick"), file = document.getElementById("file");
  const text = document.getElementById("text");
  if (!pick || !file || !text) return;
  pick.hidden = false;
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (!chosen) return;
    file.setCustomValidity(chosen.size > text.maxLength ? "larger than a matrix ever is" : "");
    if (file.reportValidity()) text.value = await chosen.text();
  });
})();
