// A place is marked on a photograph by mouse, finger or keyboard, and asked about.
"use strict";
{
  const at = (id) => document.getElementById(id);
  const [photo, said, form, field, go, mark] = ["photo", "said", "ask", "region", "go", "mark"].map(at);
  // see compare.js: OpenSeadragon writes no style into the page where it finds its mark
  const note = document.createElementNS("urn:foveola", "style");
  note.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(note);
  const viewer = OpenSeadragon({
    element: photo, drawer: "canvas", showNavigationControl: false, animationTime: 0.3, maxZoomPixelRatio: 6,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
    gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false },
    tileSources: { type: "image", url: photo.dataset.picture, crossOriginPolicy: false },
  });
  const [fx, fy, side] = photo.dataset.field.split(" ").map(Number);
  const aspect = Number(photo.dataset.aspect); // height in widths: a viewer counts both in widths
  const step = side / 40; // half a position of the encoder's grid
  const drawn = document.createElement("div");
  drawn.className = "placed";
  let box = null; // x, y, width, height in widths of the picture
  let from = null; // where a drag began
  const drawing = () => mark.getAttribute("aria-pressed") === "true";
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
  const put = (x, y, width, height) => {
    width = clamp(width, step, 1);
    height = clamp(height, step, aspect);
    box = [clamp(x, 0, 1 - width), clamp(y, 0, aspect - height), width, height];
    const place = new OpenSeadragon.Rect(...box);
    if (drawn.isConnected) viewer.updateOverlay(drawn, place);
    else viewer.addOverlay({ element: drawn, location: place });
    const shares = [box[0], box[1] / aspect, box[2], box[3] / aspect];
    field.value = shares.map((v) => v.toFixed(5)).join(",");
    go.disabled = false;
    const [left, top] = [shares[0] + shares[2] / 2, shares[1] + shares[3] / 2].map((v) => Math.round(100 * v));
    said.textContent = said.dataset.at.replace("{x}", left).replace("{y}", top)
      .replace("{width}", (100 * shares[2]).toFixed(1)).replace("{height}", (100 * shares[3]).toFixed(1));
  };
  const around = (x, y, size) => put(x - size / 2, y - size / 2, size, size);
  const ask = () => form.requestSubmit();
  const grow = (factor) => {
    if (!box) return around(fx + side / 2, fy + side / 2, side / 10);
    const [x, y, width, height] = box;
    put(x + width * (1 - factor) / 2, y + height * (1 - factor) / 2, width * factor, height * factor);
  };
  const point = (event) => viewer.viewport.pointFromPixel(event.position);
  viewer.addHandler("canvas-press", (event) => {
    if (drawing()) from = point(event);
  });
  viewer.addHandler("canvas-drag", (event) => {
    if (!from) return;
    event.preventDefaultAction = true;
    const to = point(event);
    put(Math.min(from.x, to.x), Math.min(from.y, to.y), Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  });
  viewer.addHandler("canvas-drag-end", (event) => {
    if (!from) return;
    event.preventDefaultAction = true;
    from = null;
    ask();
  });
  viewer.addHandler("canvas-click", (event) => {
    if (!drawing() || !event.quick) return;
    event.preventDefaultAction = true;
    from = null;
    const { x, y } = point(event);
    around(x, y, side / 10);
    ask();
  });
  viewer.addHandler("canvas-pinch", () => { from = null; });
  // Arrows move what is marked, with Shift they change its size; Enter asks.
  photo.addEventListener("keydown", (event) => {
    if (!drawing()) return;
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter" && box) ask();
    else if (by && !box) around(fx + side / 2, fy + side / 2, side / 10);
    else if (by && event.shiftKey) put(box[0], box[1], box[2] + by[0] * step, box[3] + by[1] * step);
    else if (by) put(box[0] + by[0] * step, box[1] + by[1] * step, box[2], box[3]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // else the viewer would pan
  }, { capture: true });
  mark.addEventListener("click", () => {
    mark.setAttribute("aria-pressed", String(!drawing()));
    photo.classList.toggle("drawing", drawing());
  });
  at("larger").addEventListener("click", () => grow(1.25));
  at("smaller").addEventListener("click", () => grow(0.8));
  const fit = (now) => viewer.viewport.fitBounds(new OpenSeadragon.Rect(fx, fy, side, side), now);
  at("whole").addEventListener("click", () => fit(false));
  photo.classList.add("drawing");
  viewer.addHandler("open", () => {
    fit(true);
    const known = photo.dataset.box.split(" ").map(Number);
    if (known.length === 4) put(known[0], known[1] * aspect, known[2], known[3] * aspect);
    document.body.dataset.ready = "yes";
  });
}
