// A hit is marked as one to be more like, or less like, not as both.
"use strict";
document.addEventListener("change", (event) => {
  if (!event.target.matches(".mark input") || !event.target.checked) return;
  for (const other of event.target.closest(".mark").querySelectorAll("input"))
    if (other !== event.target) other.checked = false;
});
