// Keys for what a page has: data-key presses a thing, data-less and data-more move a slider. A page's
// own list of them is in its dialog.
"use strict";
{
  const busy = (target) => target.closest("dialog, select, textarea, input:not([type=checkbox], [type=range], [type=radio])");
  const step = (slider, way) => {
    slider.value = Number(slider.value) + way * 10;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.matches("textarea")) event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || busy(event.target)) return;
    if (event.key === "Enter" && event.target.closest("a, button, summary")) return; // pressed itself
    const key = CSS.escape(event.key);
    const pressed = document.querySelector(`[data-key="${key}"]`);
    const less = document.querySelector(`[data-less="${key}"]`);
    const more = document.querySelector(`[data-more="${key}"]`);
    if (!pressed && !less && !more) return;
    event.preventDefault();
    if (pressed) pressed.click();
    if (less) step(less, -1);
    if (more) step(more, 1);
  });
  document.getElementById("help")?.addEventListener("click", () => document.getElementById("keys").showModal());
}
