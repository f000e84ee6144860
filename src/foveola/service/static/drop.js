// A photograph dropped on the page, or on the zone, is as one that was chosen.
"use strict";
{
  const form = document.getElementById("drop");
  const zone = document.getElementById("zone");
  const input = document.getElementById("photograph");
  const preview = document.getElementById("preview");
  const show = () => {
    const file = input.files[0];
    preview.hidden = !file;
    if (!file) return;
    preview.addEventListener("error", () => { preview.hidden = true; }, { once: true });
    preview.src = URL.createObjectURL(file);
  };
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", name === "dragover");
      if (name !== "drop" || !event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      show();
    });
  }
  input.addEventListener("change", show);
  form.addEventListener("submit", () => { document.getElementById("busy").hidden = false; });
  addEventListener("pageshow", () => { document.getElementById("busy").hidden = true; });
}
