// How strongly the maps of evidence are laid over the photographs; a part that htmx brings is heard too.
"use strict";
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-over]")) return;
  for (const map of event.target.closest(".evidence").querySelectorAll(".over"))
    map.style.opacity = event.target.value / 100;
});
