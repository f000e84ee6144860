// How long a pair was looked at, by the reader's own clock: from both pictures being there to the answer.
"use strict";
{
  const form = document.getElementById("study");
  let since = performance.now();
  const pictures = [...form.querySelectorAll("img")];
  Promise.all(pictures.map((picture) => picture.decode().catch(() => {}))).then(() => { since = performance.now(); });
  form.addEventListener("submit", () => {
    form.elements.namedItem("seconds").value = ((performance.now() - since) / 1000).toFixed(3);
  });
}
