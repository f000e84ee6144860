// Two photographs side by side that move together, each with its map laid over it.
"use strict";
{
  const tools = Object.fromEntries(
    ["map", "strength", "together", "reset"].map((id) => [id, document.getElementById(id)]),
  );
  // OpenSeadragon would write a style into the page, which the content security policy forbids; it
  // does not where it finds its mark. In no namespace of the browser's this is a mark and no style.
  const mark = document.createElementNS("urn:foveola", "style");
  mark.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(mark);
  const open = (element) => {
    const viewer = OpenSeadragon({
      // no WebGL: two pictures need none, and many a reading room's computer has none
      element, drawer: "canvas", showNavigationControl: false, animationTime: 0.3, maxZoomPixelRatio: 4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      tileSources: { type: "image", url: element.dataset.picture, crossOriginPolicy: false },
    });
    const [x, y, width] = element.dataset.field.split(" ").map(Number);
    let layer = null;
    const draw = () => {
      if (layer) layer.setOpacity(tools.map.checked ? tools.strength.value / 100 : 0);
    };
    const load = () => {
      if (layer || !tools.map.checked) return draw();
      viewer.addTiledImage({
        tileSource: { type: "image", url: element.dataset.map }, x, y, width, opacity: 0,
        success: (event) => { layer = event.item; draw(); },
      });
    };
    tools.map.addEventListener("change", load);
    tools.strength.addEventListener("input", draw);
    // Field to field: the photographs may differ in size and framing.
    const fit = (now) => viewer.viewport.fitBounds(new OpenSeadragon.Rect(x, y, width, width), now);
    viewer.addHandler("open", () => fit(true));
    tools.reset.addEventListener("click", () => fit(false));
    return { viewer, x, y, width };
  };
  const sides = ["left", "right"].map((id) => open(document.getElementById(id)));
  // Only the side that is touched leads: if each followed the other, the second would hold up the
  // first's movement while it is still on its way.
  let leading = null;
  for (const side of sides)
    for (const name of ["pointerdown", "wheel", "keydown", "touchstart"])
      side.viewer.element.addEventListener(name, () => { leading = side; }, { capture: true, passive: true });
  tools.reset.addEventListener("click", () => { leading = null; }, { capture: true });
  const follow = (from, to) => () => {
    if (!tools.together.checked || leading !== from) return;
    const seen = from.viewer.viewport.getBounds(true);
    const scale = to.width / from.width;
    const place = new OpenSeadragon.Rect(
      to.x + (seen.x - from.x) * scale, to.y + (seen.y - from.y) * scale,
      seen.width * scale, seen.height * scale,
    );
    to.viewer.viewport.fitBounds(place, true);
  };
  const [one, two] = sides;
  const ready = (side) => new Promise((done) => side.viewer.addOnceHandler("open", done));
  Promise.all(sides.map(ready)).then(() => {
    one.viewer.addHandler("viewport-change", follow(one, two));
    two.viewer.addHandler("viewport-change", follow(two, one));
    document.body.dataset.ready = "yes";
  });
}
