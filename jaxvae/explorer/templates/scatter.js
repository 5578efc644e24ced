/* The scatter plot of two latents. */
const scatter = {x: 0, y: 1, colour: "", at: 0, points: [], size: [640, 420]};
const cached = new Map();

function colourOf(label, row) {
  if (!label) return theme().accent;
  const value = label.of[row], count = label.values.length;
  if (count <= PALETTE.length) return PALETTE[value % PALETTE.length];
  const share = value / Math.max(1, count - 1);
  return `hsl(${Math.round(250 - 210 * share)} 70% ${Math.round(38 + 20 * share)}%)`;
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return found;
}

function drawScatter() {
  if (!about.codes.length || !about.latents.length) return;
  const colours = theme(), [width, height] = scatter.size, left = 44, bottom = 36, top = 8, right = 10;
  const label = about.labels.find(one => one.name === scatter.colour);
  const range = d => {
    const values = about.codes.map(code => code[d]), low = Math.min(...values), high = Math.max(...values);
    const margin = 0.04 * (high - low) || 0.5;
    return [low - margin, high + margin];
  };
  const flat = about.latents.length === 1;
  const [[xLow, xHigh], [yLow, yHigh]] = [range(scatter.x), flat ? [-1, 1] : range(scatter.y)];
  const x = value => left + (width - left - right) * (value - xLow) / (xHigh - xLow);
  const y = value => height - bottom - (height - bottom - top) * (value - yLow) / (yHigh - yLow);
  const at = code => [x(code[scatter.x]), y(flat ? 0 : code[scatter.y])];
  scatter.points = about.codes.map(at);

  const legend = label && label.values.length <= PALETTE.length ? label.values : [];
  const across = Math.max(1, Math.floor((width - left) / 150)), rows = Math.ceil(legend.length / across);
  const svg = node("svg", {viewBox: `0 0 ${width} ${height + 20 * rows + (rows ? 4 : 0)}`});
  for (const value of ticks(xLow, xHigh)) {
    svg.append(
      node("line", {x1: x(value), x2: x(value), y1: top, y2: height - bottom, stroke: colours.line}),
      textNode(x(value), height - bottom + 14, Number(value.toPrecision(6)), {fill: colours.muted, "text-anchor": "middle", "font-size": 11}),
    );
  }
  for (const value of ticks(yLow, yHigh)) {
    svg.append(
      node("line", {x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: colours.line}),
      textNode(left - 5, y(value) + 4, Number(value.toPrecision(6)), {fill: colours.muted, "text-anchor": "end", "font-size": 11}),
    );
  }
  const group = node("g", {"fill-opacity": 0.75});
  scatter.points.forEach(([cx, cy], row) => group.append(node("circle", {cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3, fill: colourOf(label, row)})));
  svg.append(group);
  for (const name of ["a", "b"]) {
    const [cx, cy] = at(chosen[name].code);
    svg.append(
      node("circle", {cx, cy, r: 7, fill: "none", stroke: colours.ink, "stroke-width": 2, "data-mark": name}),
      textNode(cx + 9, cy + 4, name.toUpperCase(), {fill: colours.ink, "font-weight": 650}),
    );
  }
  const [focusX, focusY] = scatter.points[scatter.at];
  svg.append(node("circle", {cx: focusX, cy: focusY, r: 5, fill: "none", stroke: colours.accent, "stroke-width": 2, "data-mark": "focus"}));
  svg.append(textNode((left + width) / 2, height - 6, nameOf(scatter.x), {fill: colours.ink, "text-anchor": "middle"}));
  if (!flat) {
    const middle = (height - bottom) / 2;
    svg.append(textNode(11, middle, nameOf(scatter.y), {fill: colours.ink, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})`}));
  }
  legend.forEach((name, k) => {
    const lx = left + (k % across) * 150, ly = height + 10 + 20 * Math.floor(k / across);
    svg.append(node("circle", {cx: lx, cy: ly, r: 4, fill: PALETTE[k]}), textNode(lx + 9, ly + 4, shortened(`${label.name} ${name}`, 20), {fill: colours.ink}));
  });
  $("scatter").replaceChildren(svg);
  const by = label ? `, coloured by ${label.name}` : "";
  $("scatter").setAttribute("aria-label", `${about.codes.length} codes by ${nameOf(scatter.x)}${flat ? "" : ` and ${nameOf(scatter.y)}`}${by}. Arrow keys move, Enter chooses.`);
}

function nameOf(index) {
  return about.latents.find(latent => latent.index === index)?.name ?? `z${index}`;
}

function labelsOf(row) {
  return about.labels.map(label => `${label.name} ${label.values[label.of[row]] ?? label.of[row]}`).slice(0, 6).join(", ");
}

/* The point nearest to a place of the plot, or null. */
function nearest(x, y, most = 18) {
  let best = null, distance = most ** 2;
  scatter.points.forEach(([px, py], row) => {
    const d = (px - x) ** 2 + (py - y) ** 2;
    if (d < distance) [best, distance] = [row, d];
  });
  return best;
}

function placeOf(event) {
  const svg = $("scatter").firstElementChild, box = svg.getBoundingClientRect();
  const scale = scatter.size[0] / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

async function example(row) {
  if (!cached.has(row)) {
    if (cached.size > 3000) cached.clear();
    cached.set(row, ask(`examples?at=${row}`).then(things).then(([one]) => one));
  }
  return cached.get(row);
}

async function hover(row) {
  const card = $("hover");
  scatter.hovered = row;
  if (row === null || !about.codes.length) {
    card.hidden = true;
    return;
  }
  const thing = await example(row);
  if (scatter.hovered !== row) return;
  const svg = $("scatter").firstElementChild.getBoundingClientRect(), card0 = $("scatter-card").getBoundingClientRect();
  const scale = svg.width / scatter.size[0], [px, py] = scatter.points[row];
  const left = svg.left - card0.left + px * scale, room = card0.width - 150;
  card.style.left = `${Math.max(4, Math.min(room, left + 12))}px`;
  card.style.top = `${svg.top - card0.top + py * scale + 12}px`;
  card.hidden = false;
  paint(card.firstElementChild, thing);
  card.lastElementChild.textContent = `Example ${row}${labelsOf(row) ? `: ${labelsOf(row)}` : ""}`;
}

function moveFocus(dx, dy) {
  const [x, y] = scatter.points[scatter.at];
  let best = null, score = Infinity;
  scatter.points.forEach(([px, py], row) => {
    const along = (px - x) * dx + (py - y) * dy, aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
    if (row !== scatter.at && along > 0.5 && along + 2 * aside < score) [best, score] = [row, along + 2 * aside];
  });
  if (best === null) return;
  scatter.at = best;
  drawScatter();
  hover(best);
  say(`Example ${best}${labelsOf(best) ? `: ${labelsOf(best)}` : ""}`);
}

function setUpScatter() {
  const plot = $("scatter");
  scatter.size = innerWidth < 560 ? [360, 340] : [640, 420];
  plot.addEventListener("pointermove", event => hover(nearest(...placeOf(event))).catch(tell));
  plot.addEventListener("pointerleave", () => hover(null));
  plot.addEventListener("blur", () => hover(null));
  plot.addEventListener("click", event => {
    const row = nearest(...placeOf(event));
    if (row === null) return;
    scatter.at = row;
    choose(event.shiftKey ? "b" : place(), row);
  });
  plot.addEventListener("keydown", event => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (step) moveFocus(...step);
    else if (event.key === "Enter") choose(event.shiftKey ? "b" : place(), scatter.at);
    else return;
    event.preventDefault();
  });
  for (const [axis, select] of [["x", $("axis-x")], ["y", $("axis-y")]]) {
    for (const latent of about.latents) select.append(element("option", {value: latent.index}, latent.name));
    select.addEventListener("change", () => {
      scatter[axis] = Number(select.value);
      drawScatter();
      remember();
    });
  }
  $("colour").append(element("option", {value: ""}, "one colour"));
  for (const label of about.labels) $("colour").append(element("option", {value: label.name}, label.name));
  $("colour").addEventListener("change", () => {
    scatter.colour = $("colour").value;
    drawScatter();
    remember();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawScatter();
    refresh();
  });
  addEventListener("resize", () => {
    const size = innerWidth < 560 ? [360, 340] : [640, 420];
    if (size[0] !== scatter.size[0]) {
      scatter.size = size;
      drawScatter();
    }
  });
}
