// The map of an archive: points on a canvas, up to some 100,000. Turn the wheel to zoom, drag to move,
// click a point to see its case.
"use strict";
{
  const canvas = document.getElementById("points");
  const chosen = document.getElementById("chosen");
  const context = canvas.getContext("2d");
  const GRADES = ["-1", "0", "1", "2", "3", "4"]; // the worse is drawn above the better
  let points = { ids: [], x: [], y: [], grades: [], of: Object.fromEntries(GRADES.map((grade) => [grade, []])) };
  const shown = new Set(GRADES);
  let view = { x: 0, y: 0, size: 1 }; // the part of the map that is seen
  let picked = -1;
  const style = () => getComputedStyle(document.documentElement);
  const SHAPES = {
    "-1": (x, y, r) => context.arc(x, y, r * 0.5, 0, 7),
    0: (x, y, r) => context.arc(x, y, r, 0, 7),
    1: (x, y, r) => context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8),
    2: (x, y, r) => { context.moveTo(x, y - r * 1.2); context.lineTo(x + r * 1.2, y + r); context.lineTo(x - r * 1.2, y + r); context.closePath(); },
    3: (x, y, r) => { context.moveTo(x, y - r * 1.3); context.lineTo(x + r * 1.3, y); context.lineTo(x, y + r * 1.3); context.lineTo(x - r * 1.3, y); context.closePath(); },
    4: (x, y, r) => { const w = r * 0.45, l = r * 1.3; context.rect(x - l, y - w, 2 * l, 2 * w); context.rect(x - w, y - l, 2 * w, 2 * l); },
  };
  const margin = 14;
  let side = 1; // pixels of the whole map; read once a drawing, as reading it makes the browser lay out
  const place = (i) => {
    return [margin + ((points.x[i] / 65535 - view.x) / view.size) * side,
            margin + ((1 - points.y[i] / 65535 - view.y) / view.size) * side];
  };
  const draw = () => {
    const scale = devicePixelRatio || 1;
    const wide = canvas.clientWidth;
    side = wide - 2 * margin;
    canvas.width = canvas.height = Math.round(wide * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const many = points.ids.length > 5000;
    const r = many ? Math.min(4, 1.2 / Math.sqrt(view.size)) : Math.min(9, 5 / Math.sqrt(view.size));
    const css = style();
    for (const grade of GRADES) {
      if (!shown.has(grade)) continue;
      context.fillStyle = css.getPropertyValue(grade === "-1" ? "--gx" : `--g${grade}`);
      context.strokeStyle = css.getPropertyValue("--soft");
      context.lineWidth = 0.8;
      for (const i of points.of[grade]) {
        const [x, y] = place(i);
        if (x < -9 || y < -9 || x > wide + 9 || y > wide + 9) continue;
        if (many && r < 3) { context.fillRect(x - r, y - r, 2 * r, 2 * r); continue; }
        context.beginPath();
        SHAPES[grade](x, y, r);
        context.fill();
        context.stroke();
      }
    }
    if (picked < 0) return;
    const [x, y] = place(picked);
    context.strokeStyle = css.getPropertyValue("--warn-line");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x, y, 11, 0, 7);
    context.stroke();
  };
  const nearest = (atX, atY) => {
    let best = -1;
    let least = 14 * 14;
    for (let i = 0; i < points.ids.length; i += 1) {
      if (!shown.has(String(points.grades[i]))) continue;
      const [x, y] = place(i);
      const away = (x - atX) ** 2 + (y - atY) ** 2;
      if (away < least) { least = away; best = i; }
    }
    return best;
  };
  const show = (i) => {
    picked = i;
    draw();
    if (i < 0) return;
    const id = points.ids[i];
    const link = document.createElement("a");
    link.href = `/cases/${id}`;
    const image = new Image(180, 180);
    image.src = `/cases/${id}/thumbnail`;
    image.alt = "";
    const words = document.createElement("span");
    words.textContent = chosen.dataset.case.replace("{id}", id);
    link.append(image, words);
    chosen.replaceChildren(link);
  };
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = { x: event.offsetX, y: event.offsetY, view: { ...view }, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const dx = event.offsetX - from.x;
    const dy = event.offsetY - from.y;
    if (Math.hypot(dx, dy) > 4) from.moved = true;
    if (!from.moved) return;
    view.x = from.view.x - (dx / side) * view.size;
    view.y = from.view.y - (dy / side) * view.size;
    requestAnimationFrame(draw);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (from && !from.moved) show(nearest(event.offsetX, event.offsetY));
    from = null;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [u, v] = [(event.offsetX - margin) / side, (event.offsetY - margin) / side];
    const size = Math.min(1, Math.max(0.005, view.size * (event.deltaY < 0 ? 0.8 : 1.25)));
    view = size === 1 ? { x: 0, y: 0, size } : { x: view.x + u * (view.size - size), y: view.y + v * (view.size - size), size };
    requestAnimationFrame(draw);
  }, { passive: false });
  document.getElementById("whole").addEventListener("click", () => { view = { x: 0, y: 0, size: 1 }; draw(); });
  for (const box of document.querySelectorAll("[data-grade]"))
    box.addEventListener("change", () => { shown[box.checked ? "add" : "delete"](box.dataset.grade); draw(); });
  document.getElementById("theme").addEventListener("click", () => setTimeout(draw));
  addEventListener("resize", draw);
  fetch(canvas.dataset.points).then((answer) => answer.arrayBuffer()).then((data) => {
    const n = data.byteLength / 9;
    points = { ids: new Uint32Array(data, 0, n), x: new Uint16Array(data, 4 * n, n), y: new Uint16Array(data, 6 * n, n), grades: new Int8Array(data, 8 * n, n), of: points.of };
    points.grades.forEach((grade, i) => points.of[grade].push(i));
    draw();
    document.body.dataset.points = String(n);
  });
}
