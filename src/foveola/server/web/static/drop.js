// One photograph, or both eyes, dropped on the page or on the zone: as if they had been chosen.
"use strict";
{
  const [form, zone, input, busy, told, swap, which] =
    ["drop", "zone", "photograph", "busy", "told", "swap", "which"].map((id) => document.getElementById(id));
  const previews = ["preview", "second"].map((id) => document.getElementById(id));
  const eyes = [...form.elements.namedItem("eye")];
  const legend = which.textContent;
  const show = () => {
    const two = input.files.length === 2;
    previews.forEach((preview, place) => {
      const file = input.files[place];
      preview.hidden = !file || input.files.length > 2;
      if (preview.hidden) return;
      preview.addEventListener("error", () => { preview.hidden = true; }, { once: true });
      preview.src = URL.createObjectURL(file);
    });
    const chosen = eyes.find((eye) => eye.checked).value;
    told.hidden = input.files.length < 2;
    told.textContent = input.files.length > 2 ? told.dataset.many : told.dataset[chosen || "unknown"];
    swap.hidden = !two || !chosen;
    which.textContent = two ? which.dataset.two : legend;
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
  swap.addEventListener("click", () => {
    const other = eyes.find((eye) => eye.value && !eye.checked);
    other.checked = true;
    show();
  });
  input.addEventListener("change", show);
  for (const eye of eyes) eye.addEventListener("change", show);
  form.addEventListener("submit", () => { busy.hidden = false; });
  addEventListener("pageshow", () => { busy.hidden = true; });
}
