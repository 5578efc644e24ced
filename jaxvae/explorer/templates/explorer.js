/* The state of the page: two codes, A and B, of which the sliders move A. */
const chosen = {a: null, b: null};
const PAGE = 24;
let moved = 0, page = 0, draws = 0, running = false, again = false, strip = null, playing = null, shown = {};

const tell = error => say(error.message, true);
const place = () => document.querySelector("input[name=place]:checked").value;
const between = share => chosen.a.code.map((value, d) => value + share * (chosen.b.code[d] - value));
const withLatent = (code, d, value) => code.map((old, k) => (k === d ? value : old));
const edited = name => chosen[name].row !== null && chosen[name].code.some((value, d) => value !== about.codes[chosen[name].row][d]);
const guarded = act => (...given) => Promise.resolve().then(() => act(...given)).catch(tell);

/* Rows are the examples that the codes belong to: some decoders read more of an example than its code. */
async function decode(codes, rows = codes.map(() => chosen.a.row)) {
  const base = about.kind === "table" && edited("a") ? about.codes[chosen.a.row] : null;
  return things(await ask("decode", question({codes, base, rows})));
}

function present(name, thing, caption) {
  const figure = $(`figure-${name}`);
  figure.hidden = false;
  shown[name] = thing;
  paint(figure.firstElementChild, thing);
  const told = [caption, strongest(thing)].filter(Boolean).join(": ");
  figure.firstElementChild.setAttribute("aria-label", told);
  figure.lastElementChild.textContent = told;
}

/* Decodes A, B and the walk, the latest of them while requests are on their way. */
async function refresh() {
  if (!about.decodes) return;
  if (running) {
    again = true;
    return;
  }
  running = true;
  try {
    do {
      again = false;
      const share = Number($("walk").value), start = performance.now();
      const [a, b, walk] = await decode([chosen.a.code, chosen.b.code, between(share)], [chosen.a.row, chosen.b.row, chosen.a.row]);
      present("decoded-a", a, "A decoded");
      present("decoded-b", b, "B decoded");
      present("walk", walk, `${Math.round(100 * share)} % from A to B`);
      showSpeed(performance.now() - start);
    } while (again);
  } catch (error) {
    tell(error);
  }
  running = false;
}

function showSpeed(milliseconds) {
  $("speed").textContent = `${milliseconds.toFixed(1)} ms a frame`;
}

async function original(name) {
  const {row, own} = chosen[name], figure = $(`figure-original-${name}`);
  const letter = name.toUpperCase();
  if (own) return present(`original-${name}`, own, `${letter}: own picture`);
  if (row === null) {
    figure.hidden = true;
    return undefined;
  }
  const thing = await example(row);
  if (chosen[name].row === row) present(`original-${name}`, thing, `${letter}: example ${row}`);
  return undefined;
}

function choose(name, row, own = null, code = null) {
  chosen[name] = {row: own || code ? null : row, code: [...(code ?? about.codes[row] ?? [])], own};
  if (row !== null) $("number").value = row;
  strip = null;
  update();
  if (row !== null) say(`${name.toUpperCase()} is example ${row}${labelsOf(row) ? `: ${labelsOf(row)}` : ""}`);
}

/* Shows everything again. */
function update() {
  for (const name of ["a", "b"]) original(name).catch(tell);
  showSliders();
  drawScatter();
  refresh();
  remember();
}

function showSliders() {
  for (const latent of about.latents) {
    const slider = $(`z${latent.index}`);
    if (!slider) continue;
    slider.value = chosen.a.code[latent.index];
    showValue(latent);
  }
  $("walk-value").textContent = `${Math.round(100 * $("walk").value)} %`;
  $("reset").disabled = !edited("a");
}

function showValue(latent) {
  const value = chosen.a.code[latent.index];
  $(`z${latent.index}-value`).textContent = signed(value);
  $(`z${latent.index}`).setAttribute("aria-valuetext", signed(value));
}

/* Decodes all positions of a slider in one batch, so that dragging it needs no further requests. */
async function fetchStrip(latent) {
  const code = chosen.a.code, key = keyOf(latent);
  if (strip?.key === key || about.shape.reduce((a, b) => a * b, 1) > 65536) return;
  const fresh = {key, frames: null};
  strip = fresh;
  const values = Array.from({length: latent.steps + 1}, (_, k) => position(latent, k));
  if (values.length > 64) return;
  const frames = await decode(values.map(value => withLatent(code, latent.index, value)));
  if (strip === fresh) fresh.frames = frames;
}

const keyOf = latent => `${latent.index}:${chosen.a.row}:${withLatent(chosen.a.code, latent.index, 0)}`;
const position = (latent, k) => latent.low + (latent.high - latent.low) * k / latent.steps;

function moveLatent(latent, value) {
  const start = performance.now();
  const k = Math.round((value - latent.low) / (latent.high - latent.low) * latent.steps);
  moved = latent.index;
  chosen.a.code[latent.index] = position(latent, k);
  showValue(latent);
  $("reset").disabled = !edited("a");
  $("save-gif").textContent = `GIF of ${latent.name}`;
  const key = keyOf(latent);
  if (strip?.key === key && strip.frames) {
    present("decoded-a", strip.frames[k], "A decoded");
    showSpeed(performance.now() - start);
  } else {
    refresh();
  }
}

function slider(latent) {
  const id = `z${latent.index}`;
  const input = element("input", {
    type: "range", id, min: latent.low, max: latent.high, step: (latent.high - latent.low) / latent.steps,
  });
  const swap = element("button", {type: "button", "aria-label": `Swap ${latent.name} between A and B`, title: "Swap between A and B"}, "⇄");
  const play = element("button", {type: "button", "aria-label": `Move ${latent.name} forth and back`, "aria-pressed": "false", title: "Move forth and back"}, "▶");
  input.addEventListener("pointerdown", guarded(() => fetchStrip(latent)));
  input.addEventListener("keydown", guarded(() => fetchStrip(latent)));
  input.addEventListener("input", () => moveLatent(latent, Number(input.value)));
  input.addEventListener("change", () => {
    refresh();
    drawScatter();
    remember();
  });
  swap.addEventListener("click", () => {
    const d = latent.index, own = chosen.a.code[d];
    chosen.a.code[d] = chosen.b.code[d];
    chosen.b.code[d] = own;
    moved = d;
    strip = null;
    update();
    say(`${latent.name} is swapped between A and B`);
  });
  play.addEventListener("click", guarded(() => playLatent(latent, play)));
  const detail = [`${latent.size.toFixed(2)}`, latent.detail].filter(Boolean).join(" · ");
  const label = element("label", {for: id}, latent.name, " ", element("small", {}, detail));
  return element("div", {class: "latent"}, label, input, element("output", {id: `${id}-value`, for: id}), play, swap);
}

function stopPlaying() {
  if (!playing) return;
  clearInterval(playing.timer);
  playing.button.setAttribute("aria-pressed", "false");
  playing = null;
  refresh();
  drawScatter();
  remember();
}

function play(button, act) {
  const same = playing?.button === button;
  stopPlaying();
  if (same) return;
  button.setAttribute("aria-pressed", "true");
  playing = {button, timer: setInterval(act, 60)};
}

async function playLatent(latent, button) {
  const input = $(`z${latent.index}`);
  let k = Math.round((chosen.a.code[latent.index] - latent.low) / (latent.high - latent.low) * latent.steps), step = 1;
  if (playing?.button !== button) await fetchStrip(latent);
  play(button, () => {
    if (k + step > latent.steps || k + step < 0) step = -step;
    k += step;
    input.value = position(latent, k);
    moveLatent(latent, position(latent, k));
  });
}

function playWalk() {
  let step = 1 / 32;
  play($("play-walk"), () => {
    const share = Number($("walk").value);
    if (share + step > 1 || share + step < 0) step = -step;
    $("walk").value = share + step;
    walked();
  });
}

function walked() {
  $("walk-value").textContent = `${Math.round(100 * $("walk").value)} %`;
  refresh();
}

async function showPage(next) {
  const pages = Math.ceil(about.count / PAGE);
  page = Math.max(0, Math.min(pages - 1, next));
  const rows = Array.from({length: Math.min(PAGE, about.count - page * PAGE)}, (_, k) => page * PAGE + k);
  $("earlier").disabled = page === 0;
  $("later").disabled = page === pages - 1;
  const answers = about.kind === "none" ? [] : await ask(`examples?at=${rows}`).then(things);
  $("thumbnails").replaceChildren(...rows.map((row, k) => {
    const button = element("button", {type: "button", "aria-label": `Example ${row}${labelsOf(row) ? `: ${labelsOf(row)}` : ""}`});
    if (about.kind === "pictures" || about.kind === "series") {
      const holder = element("div", {class: "shown"});
      paint(holder, answers[k]);
      button.append(holder);
    } else {
      button.append(`${row}${labelsOf(row) ? `: ${labelsOf(row)}` : ""}`);
    }
    button.addEventListener("click", () => choose(place(), row));
    return button;
  }));
}

async function takeOwn(file) {
  if (!file) return;
  if (!about.takesPictures) throw new Error("This run takes no pictures of your own.");
  say("Encoding the picture");
  const answer = await (await ask("encode", {method: "POST", headers: {"content-type": "application/octet-stream"}, body: file})).json();
  const pixels = Uint8Array.from(atob(answer.pixels), letter => letter.charCodeAt(0));
  choose(place(), null, pixels, answer.code);
  say(`${place().toUpperCase()} is your own picture, resized as in training`);
}

async function redraw() {
  const image = await (await ask(`drawn?page=${draws++}`)).blob();
  const address = URL.createObjectURL(image);
  $("drawn-image").src = address;
  await $("drawn-image").decode();
  $("drawn-count").textContent = `Draw ${draws} of random examples`;
  URL.revokeObjectURL(address);
}

function setUpButtons() {
  $("reset").addEventListener("click", () => choose("a", chosen.a.row));
  $("exchange").addEventListener("click", () => {
    [chosen.a, chosen.b] = [chosen.b, chosen.a];
    strip = null;
    update();
    say("A and B are exchanged");
  });
  $("prior").addEventListener("click", guarded(async () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] % 2 ** 31;
    const {code} = await (await ask(`prior?seed=${seed}`)).json();
    choose("a", null, null, code);
    say("A is a random code");
  }));
  $("walk").addEventListener("input", walked);
  $("walk").addEventListener("change", remember);
  $("play-walk").addEventListener("click", playWalk);
  $("number").max = about.count - 1;
  $("number").addEventListener("change", () => {
    const row = Number($("number").value);
    if (Number.isInteger(row) && row >= 0 && row < about.count) choose(place(), row);
    else say(`Examples have the numbers 0 to ${about.count - 1}.`, true);
  });
  $("earlier").addEventListener("click", guarded(() => showPage(page - 1)));
  $("later").addEventListener("click", guarded(() => showPage(page + 1)));
  $("redraw").addEventListener("click", guarded(redraw));
  $("own").addEventListener("change", guarded(() => takeOwn($("own").files[0])));
  addEventListener("paste", guarded(event => takeOwn([...event.clipboardData.files][0])));
  addEventListener("dragover", event => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", guarded(event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    return takeOwn([...event.dataTransfer.files][0]);
  }));
  const acts = {png: savePng, svg: saveSvg, gif: saveLatent, walk: saveWalk, csv: saveCsv, link: saveLink};
  for (const [name, act] of Object.entries(acts)) $(`save-${name}`).addEventListener("click", guarded(act));
  addEventListener("hashchange", () => {
    restore();
    strip = null;
    update();
  });
}

async function start() {
  about = await (await ask("about")).json();
  for (const [name, value] of Object.entries(about.facts)) {
    if (value) $("facts").append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  const pictures = about.kind === "pictures";
  $("figures").classList.toggle("tabular", !pictures);
  $("thumbnails").classList.toggle("tabular", !pictures);
  $("stage").hidden = !about.decodes;
  $("examples").hidden = about.count === 0;
  $("map").hidden = !about.encodes;
  $("drawn").hidden = !about.draws;
  $("own-label").hidden = !about.takesPictures;
  $("saving").hidden = !about.encodes;
  $("save-gif").hidden = $("save-walk").hidden = !pictures || !about.decodes;
  const active = about.latents.filter(latent => latent.active), rest = about.latents.filter(latent => !latent.active);
  $("active").append(...(active.length ? active : rest).map(slider));
  if (active.length && rest.length) {
    $("rest").hidden = false;
    $("rest").querySelector("summary").textContent = rest.length > 1 ? `${rest.length} inactive latents` : "1 inactive latent";
    $("inactive").append(...rest.map(slider));
  }
  $("sliders-caption").textContent = `Active latents, ordered by their size (${about.size}). A slider moves one latent of A; ⇄ swaps it between A and B.`;
  $("stage-caption").textContent = about.kind === "table"
    ? "Bars are the columns that differ most from the decoded example, or from the average code if no latent was moved, in standard deviations of the column (of its logarithm for counts)."
    : "An example A and its reconstruction at the left, an example B at the right, and between them a code on the way from A to B.";
  if (about.readsExamples) {
    $("stage-caption").textContent += " The decoder reads more of an example than its code, such as the library size of a cell or its covariates: A and the walk are decoded with what is known of A, B with what is known of B, and a random code or an own picture without it.";
  }
  $("examples-caption").textContent = about.takesPictures
    ? "Choose an example, or drop, paste or open a picture of your own, which is cropped and resized as in training."
    : "Choose an example of the data.";
  setUpScatter();
  setUpButtons();
  restore();
  if (about.latents.length) $("save-gif").textContent = `GIF of ${nameOf(moved)}`;
  if (about.encodes) update();
  if (about.count) await showPage(0);
  if (about.draws) await redraw();
  say("Ready");
}

start().catch(tell);
