/* Files of what is on the screen, and the link that restores it. */
function download(blob, name) {
  const link = element("a", {href: URL.createObjectURL(blob), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${name}`);
}

const fileName = ending => `${about.title.replace(/[^\w.-]+/g, "-").slice(0, 60)}.${ending}`;

/* One SVG of the figures and the scatter plot. */
function composed() {
  const colours = theme(), side = about.kind === "pictures" ? 150 : 300, gap = 16, width = 880;
  const svg = node("svg", {xmlns: SVG});
  const parts = [node("rect", {x: 0, y: 0, width: "100%", height: "100%", fill: colours.card})];
  parts.push(textNode(gap, 26, about.title, {fill: colours.ink, "font-size": 16, "font-weight": 650}));
  let x = gap, y = 42, tallest = 0;
  for (const figure of document.querySelectorAll("#figures figure")) {
    if (figure.hidden || $("stage").hidden) continue;
    const shown = figure.querySelector(".shown"), inner = shown.firstElementChild;
    if (!inner || inner.tagName === "DL") continue;
    if (x + side > width) [x, y, tallest] = [gap, y + tallest + gap, 0];
    const ratio = inner.tagName === "CANVAS" ? inner.height / inner.width : inner.viewBox.baseVal.height / inner.viewBox.baseVal.width;
    const height = side * ratio;
    if (inner.tagName === "CANVAS") {
      parts.push(node("image", {x, y, width: side, height, href: inner.toDataURL("image/png"), style: "image-rendering: pixelated"}));
    } else {
      const copy = inner.cloneNode(true);
      for (const [key, value] of Object.entries({x, y, width: side, height})) copy.setAttribute(key, value);
      parts.push(copy);
    }
    parts.push(textNode(x + side / 2, y + height + 16, shortened(figure.querySelector("figcaption").textContent, 48), {fill: colours.muted, "text-anchor": "middle", "font-size": 11}));
    x += side + gap;
    tallest = Math.max(tallest, height + 24);
  }
  y += tallest + gap;
  const plot = $("scatter").firstElementChild;
  if (plot && !$("map").hidden) {
    const copy = plot.cloneNode(true), box = plot.viewBox.baseVal;
    copy.querySelector("[data-mark=focus]")?.remove();
    for (const [key, value] of Object.entries({x: gap, y, width: box.width, height: box.height})) copy.setAttribute(key, value);
    parts.push(copy);
    y += box.height + gap;
  }
  for (const [key, value] of Object.entries({width, height: Math.ceil(y), viewBox: `0 0 ${width} ${Math.ceil(y)}`})) svg.setAttribute(key, value);
  svg.append(...parts);
  return svg;
}

const asText = svg => new XMLSerializer().serializeToString(svg);

function saveSvg() {
  download(new Blob([asText(composed())], {type: "image/svg+xml"}), fileName("svg"));
}

async function savePng() {
  const svg = composed(), image = new Image();
  const address = URL.createObjectURL(new Blob([asText(svg)], {type: "image/svg+xml"}));
  image.src = address;
  await image.decode();
  const canvas = element("canvas", {width: 2 * svg.getAttribute("width"), height: 2 * svg.getAttribute("height")});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  download(await new Promise(done => canvas.toBlob(done, "image/png")), fileName("png"));
}

function saveCsv() {
  const names = about.codes[0].map((_, d) => `z${d}`);
  const rows = ["a", "b"].map(name => [name.toUpperCase(), ...chosen[name].code].join(","));
  download(new Blob([["id", ...names].join(","), "\n", rows.join("\n"), "\n"], {type: "text/csv"}), fileName("csv"));
}

async function saveGif(codes, values, name) {
  say("Making the animation");
  const answer = await ask("animation", question({codes, values, name, rows: codes.map(() => chosen.a.row)}));
  download(await answer.blob(), fileName("gif"));
}

function saveLatent() {
  const latent = about.latents.find(one => one.index === moved);
  const values = Array.from({length: 17}, (_, k) => latent.low + (latent.high - latent.low) * k / 16);
  return saveGif(values.map(value => withLatent(chosen.a.code, moved, value)), values, latent.name);
}

function saveWalk() {
  const shares = Array.from({length: 17}, (_, k) => k / 16);
  return saveGif(shares.map(between), shares, "from A to B");
}

/* The state after the # of the address. */
function remember() {
  const state = new URLSearchParams();
  for (const name of ["a", "b"]) {
    const {row, code} = chosen[name];
    if (row !== null) state.set(name, row);
    if (row === null || edited(name)) state.set(`z${name}`, code.map(value => Number(value.toPrecision(6))).join(","));
  }
  state.set("walk", $("walk").value);
  state.set("latent", moved);
  state.set("x", scatter.x);
  state.set("y", scatter.y);
  if (scatter.colour) state.set("colour", scatter.colour);
  history.replaceState(null, "", `#${state}`);
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1)), latents = about.codes[0]?.length ?? 0;
  const whole = (name, below) => {
    const value = state.has(name) ? Number(state.get(name)) : NaN;
    return Number.isInteger(value) && value >= 0 && value < below ? value : null;
  };
  for (const [name, first] of [["a", 0], ["b", 1]]) {
    const row = whole(name, about.count), code = (state.get(`z${name}`) ?? "").split(",").map(Number);
    const usable = state.has(`z${name}`) && code.length === latents && code.every(Number.isFinite);
    chosen[name] = {row: row ?? (usable ? null : Math.min(first, about.count - 1)), code: null, own: null};
    chosen[name].code = usable ? code : [...(about.codes[chosen[name].row] ?? [])];
  }
  const share = Number(state.get("walk") ?? 0.5);
  $("walk").value = share >= 0 && share <= 1 ? share : 0.5;
  const known = about.latents.map(latent => latent.index);
  moved = known.includes(whole("latent", latents)) ? whole("latent", latents) : known[0];
  scatter.x = whole("x", latents) ?? known[0] ?? 0;
  scatter.y = whole("y", latents) ?? known[1] ?? known[0] ?? 0;
  scatter.colour = about.labels.some(label => label.name === state.get("colour")) ? state.get("colour") : about.labels[0]?.name ?? "";
  $("axis-x").value = scatter.x;
  $("axis-y").value = scatter.y;
  $("colour").value = scatter.colour;
}

async function saveLink() {
  remember();
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link to this state is copied. It works while the explorer runs; the part after # fits any later address.");
  } catch (error) {
    say("The link to this state is in the address bar. It works while the explorer runs.");
  }
}
