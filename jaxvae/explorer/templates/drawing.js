"use strict";
const $ = name => document.getElementById(name);
const SVG = "http://www.w3.org/2000/svg";
const PALETTE = ["#1f77b4", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b4fb5", "#8c6d31", "#7f7f7f", "#b2182b"];
let about = null;

function node(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(`--${name}`).trim();
  return {card: colour("card"), ink: colour("ink"), muted: colour("muted"), line: colour("line"), accent: colour("accent")};
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function signed(value) {
  const text = (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2);
  return Number(value.toFixed(2)) === 0 ? "0.00" : text;
}

/* Splits an answer into what each example is shown as. */
async function things(answer) {
  if (about.kind !== "pictures") return answer.json();
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const [height, width, channels] = about.shape, size = height * width * channels;
  return Array.from({length: bytes.length / size}, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, {redirect: "error", ...options});
  } catch (error) {
    throw new Error("The explorer does not answer. Is `jaxvae explore` still running?");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const question = value => ({method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(value)});

/* Shows a thing in an element: pixels on a canvas, and the rest as SVG or as a list. */
function paint(place, thing) {
  if (about.kind === "pictures") paintPicture(place, thing);
  else if (thing.lines) place.replaceChildren(lineChart(thing.lines));
  else if (thing.bars) place.replaceChildren(barChart(thing.bars));
  else place.replaceChildren(valueList(thing.values));
}

function paintPicture(place, pixels) {
  const [height, width, channels] = about.shape;
  let canvas = place.firstElementChild;
  if (!canvas || canvas.tagName !== "CANVAS") {
    canvas = element("canvas", {width, height});
    place.replaceChildren(canvas);
  }
  const image = new ImageData(width, height), data = image.data;
  for (let from = 0, to = 0; from < pixels.length; from += channels, to += 4) {
    data[to] = pixels[from];
    data[to + 1] = pixels[from + (channels > 1 ? 1 : 0)];
    data[to + 2] = pixels[from + (channels > 1 ? 2 : 0)];
    data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function textNode(x, y, text, attributes) {
  return node("text", {x, y, "font-family": "system-ui, sans-serif", "font-size": 12, ...attributes}, text);
}

function barChart(bars) {
  const colours = theme(), row = 34, width = 340, half = 150;
  const shown = bars.filter(bar => Math.abs(bar.change) > 1e-4);
  const reach = Math.max(1e-6, ...shown.map(bar => Math.abs(bar.change)));
  const svg = node("svg", {viewBox: `0 0 ${width} ${Math.max(1, shown.length) * row + 6}`});
  if (!shown.length) svg.append(textNode(0, 20, "No column differs.", {fill: colours.muted}));
  shown.forEach((bar, k) => {
    const y = k * row, length = half * Math.abs(bar.change) / reach, middle = width / 2;
    const strongest = k === 0 ? {"font-weight": 650} : {};
    svg.append(
      textNode(0, y + 13, shortened(bar.name, 24), {fill: colours.ink, ...strongest}),
      textNode(width, y + 13, `${bar.before} → ${bar.after}`, {fill: colours.muted, "text-anchor": "end"}),
      node("rect", {
        x: bar.change < 0 ? middle - length : middle, y: y + 18, width: Math.max(length, 0.5), height: 9,
        fill: bar.change < 0 ? "#3b6fd4" : "#d4572f",
      }),
      node("line", {x1: middle, x2: middle, y1: y + 16, y2: y + 29, stroke: colours.muted}),
    );
  });
  return svg;
}

function shortened(text, most) {
  return text.length > most ? text.slice(0, most - 1) + "…" : text;
}

function strongest(thing) {
  const [first] = thing.bars ?? [];
  if (!first || Math.abs(first.change) <= 1e-4) return "";
  return `${first.name} changes most, by ${signed(first.change)} standard deviations`;
}

function lineChart(lines) {
  const colours = theme(), width = 320, height = 180, [low, high] = about.range;
  const svg = node("svg", {viewBox: `0 0 ${width} ${height}`});
  const y = value => 6 + (height - 12) * (high - Math.max(low, Math.min(high, value))) / Math.max(high - low, 1e-9);
  svg.append(node("rect", {x: 0, y: 0, width, height, fill: "none", stroke: colours.line}));
  lines.forEach((line, k) => {
    const points = line.map((value, t) => `${(t * width / Math.max(1, line.length - 1)).toFixed(1)},${y(value).toFixed(1)}`);
    svg.append(node("polyline", {points: points.join(" "), fill: "none", stroke: PALETTE[k % PALETTE.length], "stroke-width": 1.5}));
  });
  return svg;
}

function valueList(values) {
  const list = element("dl");
  for (const [name, value] of values) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}
