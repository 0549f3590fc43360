// One picture after the other, or a grid of them: keys and clicks give them classes.
import { $, make, moved, number, percent, shown, TOO_SOON, UNSEEN } from "./dom.js";
import { classOfKey, editClasses, isSign, showClasses, Typed } from "./classes.js";
import { mark, store, undo } from "./store.js";
import { look } from "./look.js";

const current = { trail: [], at: -1, grid: false, tiles: [], framed: null, busy: false, undoing: 0, replaced: -UNSEEN, missed: false };
const ready = new Map(); // pictures that come next, by their number
let typed;

const item = () => (current.grid ? current.framed?.item : current.trail[current.at]);
const working = () => current.busy || current.undoing > 0; // what is shown is about to change: no key counts
const unseen = () => working() || performance.now() - current.replaced < UNSEEN;
const guessing = () => $("#guessing").value;

export function start() {
  store.at = () => (current.grid ? current.tiles.map((tile) => tile.item.row) : current.trail.slice(current.at, current.at + 1).map((each) => each.row));
  typed = new Typed((name, target) => give("label", name, target), () => (working() ? null : item()));
  $("#typed").addEventListener("blur", () => store.state && show());
  $("#pictures").addEventListener("focusin", ({ target }) => frame(current.tiles.find(({ node }) => node === target)));
  $("#guessing").value = localStorage.getItem("paws-guess") || "after";
  $("#guessing").addEventListener("change", () => { localStorage.setItem("paws-guess", guessing()); show(true); });
  $("#undo").addEventListener("click", back);
  $("#skip").addEventListener("click", () => give("skip"));
  $("#none").addEventListener("click", () => give("none"));
  $("#closer").addEventListener("click", () => item() && look(item().row));
  $("#grid").addEventListener("click", toggleGrid);
  $("#edit").addEventListener("click", editClasses);
}

/** The next picture of the queue that was not shown in this trail yet. */
function advance() {
  const seen = new Set(current.trail.slice(-12).map((each) => each.row));
  const next = store.state.next.find((each) => !seen.has(each.row)) ?? store.state.next.find((each) => each.row !== current.trail[current.at]?.row);
  if (next) { current.trail.push(next); current.at = current.trail.length - 1; } else { current.at = current.trail.length; }
}

/** Bring the view up to the state: a picture that was labelled in another tab makes way. */
export function show(force = false) {
  const state = store.state;
  const here = current.trail[current.at];
  const now = here && state.at?.find(({ row }) => row === here.row);
  if (now && !here.given) {
    force ||= guessing() === "before" && JSON.stringify(now.guess) !== JSON.stringify(here.guess);
    here.guess = now.guess;
  } else if (now && now.label !== null && now.label !== here.given) { // renamed, or labelled anew elsewhere
    here.given = now.label;
    force = true;
  }
  if (!current.grid && !working() && !typed.busy && (!here || (now && !here.given && (now.label !== null || now.none)))) {
    if (here) { here.given = now.label ?? "none of these"; current.replaced = performance.now(); } // by another tab
    advance();
    force = true;
  }
  if (current.grid && !working()) followTiles(state);
  if (current.grid && (!current.tiles.length || current.tiles.every((tile) => tile.done)) && !working()) fillGrid();
  else if (force && !current.grid) drawSingle();
  stands(state);
  $("#undo").disabled = !state.undoable;
  classes();
  preload();
}

function classes() {
  const here = item();
  showClasses($("#classes"), guessing() === "before" && here ? here.guess : [], (name) => give("label", name));
}

/** Load and decode the pictures that come next. */
function preload() {
  const next = store.state.next.slice(0, 6);
  for (const row of ready.keys()) if (!next.some((each) => each.row === row)) ready.delete(row);
  for (const each of current.grid ? [] : next) {
    if (ready.has(each.row)) continue;
    ready.set(each.row, shown(each, "large"));
    ready.get(each.row).decode().catch(() => ready.delete(each.row));
  }
}

/** The element that was loaded before, where there is one. */
function taken(item) {
  const image = ready.get(item.row);
  ready.delete(item.row);
  return image ?? shown(item, "large");
}

function drawSingle() {
  const here = current.trail[current.at];
  const stage = $("#pictures");
  stage.className = "single";
  if (!here) {
    const left = store.state.total - store.state.labelled - store.state.none - store.state.unreadable;
    stage.replaceChildren(make("div", { class: "empty" }, make("h2", {}, left > 0 ? "One moment…" : "Every picture has a label"), make("p", { class: "soft" }, left > 0 ? "The next picture is on its way." : "Look again at the doubtful ones, or finish.")));
    $("#about").replaceChildren();
    return;
  }
  const shot = make("button", { class: "shot", type: "button", "aria-label": `${here.name}: look closer` }, taken(here));
  const chips = make("span", { class: "chips" });
  if (here.given) chips.append(make("span", { class: "chip given" }, here.given));
  if (guessing() === "before" && !here.given) chips.append(...here.guess.slice(0, 2).map(([name, p]) => make("span", { class: "chip" }, `${name} ${percent(p)}`)));
  shot.append(chips);
  shot.addEventListener("click", () => look(here.row));
  stage.replaceChildren(shot);
  $("#about").replaceChildren(make("span", { class: "file" }, here.name), make("span", {}, here.reason ?? ""));
}

function fillGrid() {
  const stage = $("#pictures");
  stage.className = "single several";
  current.tiles = store.state.next.map((each) => ({ item: each, done: false, node: tileOf(each) }));
  stage.replaceChildren(...current.tiles.map((tile) => tile.node));
  $("#about").replaceChildren("Arrows move, a class's key labels the picture with the frame.");
  frame(current.tiles[0]);
  if (!current.tiles.length) { current.grid = false; drawSingle(); return; }
  if (document.activeElement === document.body || stage.contains(document.activeElement) || document.activeElement === $("#main")) current.tiles[0].node.focus();
}

/** Bring the grid up to the state: what was labelled in another tab is told, but for a tile whose class is being typed. */
function followTiles(state) {
  for (const tile of current.tiles) {
    const now = state.at?.find(({ row }) => row === tile.item.row);
    const given = now?.label ?? (now?.none ? "none of these" : null);
    if (!given || given === tile.item.given || (typed.busy && tile === current.framed)) continue;
    if (!tile.done && tile === current.framed) current.replaced = performance.now();
    tile.item.given = given;
    settle(tile, given);
  }
  if (current.tiles.length && current.tiles.every((tile) => tile.done)) current.replaced = performance.now(); // others come
}

function settle(tile, text) {
  tile.done = true;
  tile.node.classList.add("given");
  tile.node.querySelector(".cap").textContent = text;
}

/** The tile that keys, and the classes at the side, are meant for; it stays that while the focus is elsewhere. */
function frame(tile) {
  current.framed = tile ?? null;
  for (const each of current.tiles) each.node.classList.toggle("framed", each === tile);
}

function tileOf(each) {
  const guess = guessing() === "before" && each.guess.length ? `${each.guess[0][0]} ${percent(each.guess[0][1])}` : each.name;
  const node = make("button", { class: "tile", type: "button" }, shown(each), make("span", { class: "cap" }, guess));
  node.addEventListener("click", (event) => { if (event.detail) { node.focus(); look(each.row); } });
  return node;
}

function toggleGrid() {
  current.grid = !current.grid;
  $("#grid").setAttribute("aria-pressed", current.grid);
  current.tiles = [];
  if (current.grid) { fillGrid(); current.tiles[0]?.node.focus(); } else { current.at = current.trail.length; advance(); drawSingle(); }
  show();
}

/** Give the picture ``here`` a mark; it is on the disk before the next one is shown. */
async function give(kind, name = null, here = item()) {
  if (!here) return;
  if (working() || (unseen() && here === item())) return tooSoon();
  current.busy = true;
  if (!current.grid) $("#main").focus({ preventScroll: true }); // not only when it is done: the next key may be there before
  const state = await mark([[here.row, kind, kind === "label" ? name : null]], here.given ? "other" : here.how || "other");
  current.busy = false;
  if (!state) return;
  here.given = kind === "label" ? name : kind === "none" ? "none of these" : null;
  here.kept = kind === "skip";
  tell(here, kind, name);
  const tile = current.tiles.find((each) => each.item.row === here.row);
  if (tile) {
    settle(tile, here.given ?? "skipped");
    const next = current.tiles.find((each) => !each.done);
    if (!next) fillGrid();
    else if (typed.busy) frame(next);
    else next.node.focus();
  } else if (!current.grid && current.trail[current.at] === here) { // else the person has moved on
    if (current.at < current.trail.length - 1) current.at += 1; else advance();
    drawSingle();
  }
  show();
}

function tell(here, kind, name) {
  if (kind === "skip") return say(`${here.name} comes again later`);
  const parts = [make("b", {}, kind === "label" ? name : "None of these")];
  if (guessing() !== "never" && kind === "label" && here.guess.length) {
    const [guess, p] = here.guess[0];
    parts.push(" ", make("span", { class: guess === name ? "ok" : "no" }, guess === name ? `✓ guessed, ${percent(p)}` : `the guess was ${guess}, ${percent(p)}`));
  }
  return say(...parts);
}

function say(...parts) {
  if (current.missed) parts.push(make("span", { class: "soft" }, TOO_SOON));
  current.missed = false;
  $("#said").replaceChildren(...parts);
}

/** A key was pressed that was meant for what was shown before: that is told, at the latest with what comes. */
function tooSoon() {
  current.missed = true;
  if (!working()) say(make("span", { class: "soft" }, "The picture that was here has its label"));
}

async function back() {
  if (!store.state.undoable) return say("There is nothing to undo");
  const before = store.state.revision;
  current.undoing += 1;
  const done = await undo();
  current.undoing -= 1;
  if (!done) return say(store.state.revision === before ? "There is nothing to undo" : "Another tab has done something meanwhile; press U again to undo that");
  const last = current.trail.slice(0, current.at).findLastIndex((each) => each.given || each.kept);
  if (!current.grid && last >= 0) {
    const again = { ...current.trail[last], given: null, kept: false };
    current.trail = [...current.trail.slice(0, last), again];
    current.at = last;
    drawSingle();
  } else if (current.grid) fillGrid();
  say("Undone");
  return show();
}

function move(step) {
  const to = current.at + step;
  if (to < 0) return;
  if (to < current.trail.length) current.at = to; else advance();
  drawSingle();
  classes();
}

export function key(event) {
  const onButton = event.target.matches("button:not(.tile):not(.shot), a, summary") && (event.key === "Enter" || event.key === " ");
  if (onButton) return false;
  if (event.key === " ") give("skip");
  else if (event.key === "Enter") { if (item()) look(item().row); }
  else if (event.key === "/" || event.key === "+") typed.start();
  else if (event.key.toLowerCase() === "u") back();
  else if (event.key.toLowerCase() === "n") give("none");
  else if (event.key.toLowerCase() === "g") toggleGrid();
  else if (current.grid && moved($("#pictures"), event.key)) return true;
  else if (event.key === "ArrowLeft") move(-1);
  else if (event.key === "ArrowRight") move(1);
  else if (event.key.length === 1 && classOfKey(event.key)) give("label", classOfKey(event.key));
  else if (isSign(event.key)) typed.start(event.key);
  else return false;
  return true;
}

/** The figures at the side. */
function stands(state) {
  const { measures, curve, step } = state;
  $("#expected").textContent = percent(measures.expected);
  $("#sure").textContent = measures.expected === null ? "–" : percent(measures.sure);
  $("#gain").textContent = measures.gain === null ? "–" : `+ ${(100 * measures.gain).toFixed(1)} points`;
  const [low, high] = measures.interval;
  const where = measures.random ? "drawn at random" : "hard ones, as they were asked for";
  $("#heldout").textContent = measures.accuracy === null ? "–" : `${percent(measures.accuracy)} (${Math.round(100 * low)}–${Math.round(100 * high)})`;
  $("#heldout").title = measures.accuracy === null ? "" : `on ${measures.measured_on} labels, ${where}; 95 % interval`;
  const [what, done, of] = step;
  $("#step").textContent = what === "ready" ? (measures.accuracy === null ? "Label pictures of two classes, and it begins to guess." : `Held out: ${measures.measured_on} labels, ${where}.`)
    : `${{ reading: "Reading", embedding: "Getting to know" }[what] ?? "Starting"}: ${number(done)} of ${number(of)} pictures; you can label already.`;
  const lost = state.unreadable;
  if (lost) $("#step").append(` ${lost === 1 ? "One picture" : `${number(lost)} pictures`} cannot be read: ${state.faults.map(([file, why]) => `${file} (${why})`).join(", ")}${lost > state.faults.length ? ", …" : "."}`);
  drawCurve(curve);
}

let drawnCurve = "";

function drawCurve(points) {
  const svg = $("#curve");
  if (drawnCurve === (drawnCurve = String(points))) return;
  svg.toggleAttribute("hidden", points.length < 2);
  if (points.length < 2) return;
  const space = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes, text = "") => { const node = document.createElementNS(space, tag); for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v); node.textContent = text; return node; };
  const most = points.at(-1)[0];
  const x = (n) => 26 + 246 * (n / most);
  const y = (p) => 68 - 60 * p;
  const lines = [0, 0.5, 1].flatMap((p) => [draw("line", { x1: 26, x2: 272, y1: y(p), y2: y(p) }), draw("text", { x: 22, y: y(p) + 3, "text-anchor": "end" }, `${100 * p}`)]);
  const path = points.map(([n, p], i) => `${i ? "L" : "M"}${x(n).toFixed(1)} ${y(p).toFixed(1)}`).join("");
  svg.replaceChildren(...lines, draw("path", { d: path }), draw("circle", { cx: x(most), cy: y(points.at(-1)[1]), r: 3.2 }), draw("text", { x: 272, y: 81, "text-anchor": "end" }, `${number(most)} labels`));
  svg.setAttribute("aria-label", `Expected share right over labels: now ${percent(points.at(-1)[1])} with ${most} labels`);
}
