// The compare page's second map: what is lost where a photograph is covered up. It takes seconds.
"use strict";
{
  const box = document.getElementById("cover");
  const state = document.getElementById("covering");
  const strength = document.getElementById("strength");
  const map = document.getElementById("map");
  const layers = new Map();
  let busy = false;
  const draw = () => {
    for (const layer of layers.values()) layer.setOpacity(box.checked ? strength.value / 100 : 0);
  };
  const lay = (element) => new Promise((done, failed) => {
    const [x, y, width] = element.dataset.field.split(" ").map(Number);
    OpenSeadragon.getViewer(element.id).addTiledImage({
      tileSource: { type: "image", url: element.dataset.occlusion }, x, y, width, opacity: 0,
      success: (event) => { layers.set(element.id, event.item); done(); }, error: failed,
    });
  });
  const load = async () => {
    if (box.checked && map.checked) map.click(); // one map at a time: both are of one colour
    if (!box.checked || busy || layers.size) return draw();
    busy = true;
    state.hidden = false;
    try {
      for (const element of document.querySelectorAll(".viewer[data-occlusion]")) await lay(element);
    } catch {
      box.checked = false;
    }
    state.hidden = true;
    busy = false;
    draw();
  };
  box.addEventListener("change", load);
  map.addEventListener("change", () => {
    if (map.checked && box.checked) { box.checked = false; draw(); }
  });
  strength.addEventListener("input", draw);
}
