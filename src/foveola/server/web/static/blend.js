// The case laid over the photograph asked about, field of view on field of view, as much as a slider says.
"use strict";
{
  const slider = document.getElementById("blend");
  const said = document.getElementById("mixed");
  const [query, other] = ["left", "right"].map((id) => document.getElementById(id));
  const place = (element) => element.dataset.field.split(" ").map(Number);
  const [x, y, width] = place(query);
  const [caseX, caseY, caseWidth] = place(other);
  const scale = width / caseWidth;
  let layer = null;
  let asked = false;
  const draw = () => {
    const share = Number(slider.value);
    said.hidden = share === 0;
    said.textContent = said.dataset.mixed.replace("{share}", share);
    if (layer) layer.setOpacity(share / 100);
    if (asked || share === 0) return;
    asked = true;
    OpenSeadragon.getViewer("left").addTiledImage({
      tileSource: { type: "image", url: other.dataset.picture, crossOriginPolicy: false },
      x: x - caseX * scale, y: y - caseY * scale, width: scale, opacity: share / 100, index: 1,
      success: (event) => { layer = event.item; draw(); },
    });
  };
  slider.addEventListener("input", draw);
  draw();
}
