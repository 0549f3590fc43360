// Guesses to read in order, the surest first: the class of a wrong one confirms those before it, and the rest is guessed anew.
import { $, make, moved, percent, shown, TOO_SOON, UNSEEN } from "./dom.js";
import { classOfKey, isSign, showClasses, Typed } from "./classes.js";
import { get, mark, store, undo } from "./store.js";
import { look } from "./look.js";

const PATIENCE = 400; // milliseconds that a sheet waits for votes with what was just said
const KEPT = 12; // pictures that are still shown when they are done

let sheet = null;
let pointed = null; // the tile that the mouse is over, or the focus came to since
let shownAt = -1;
let busy = false;
let missed = false; // a key was pressed that did not count
let replaced = -UNSEEN; // when a sheet came by itself, as another tab had done something
let loads = 0; // sheets asked for: only the answer to the last is shown
let typed;

const grid = () => $("#confirm-grid");
const tiles = () => [...grid().querySelectorAll(".tile")];
const marked = () => tiles().filter((tile) => tile.getAttribute("aria-pressed") === "true");

/** Whether what is shown is about to be guessed anew: no key counts. */
function work(on) {
  busy = on;
  grid().setAttribute("aria-busy", on);
  if (!busy && missed) tooSoon();
}

/** A key was pressed that was meant for what was shown before: that is told, at the latest with what comes. */
function tooSoon() {
  missed = busy;
  if (!busy) $("#confirm-said").append(TOO_SOON);
}

export function start() {
  typed = new Typed((name, target) => give("label", name, target), chosen, "#confirm-typed", "#confirm-matches");
  $("#confirm-typed").addEventListener("blur", () => store.state && !$("#confirm").hidden && show());
  $("#confirm-yes").addEventListener("click", ({ detail }) => { if (detail < 2) confirm(); }); // the second click of two was not meant for what comes then
  $("#confirm-undo").addEventListener("click", back);
  $("#confirm-none").addEventListener("click", () => give("none"));
  $("#confirm-class").addEventListener("change", () => load());
  for (const event of ["pointerover", "focusin"]) grid().addEventListener(event, ({ target }) => point(target.closest(".tile") ?? pointed));
  grid().addEventListener("pointerleave", () => point(null)); // on the way to a class at the side it crosses others
}

/** Show a sheet; the one that is there stays until something was done, here or in another tab. */
export async function show(force = false) {
  const names = store.state.classes.map(({ name }) => name), select = $("#confirm-class"), value = select.value;
  if ([...select.options].slice(1).map((each) => each.value).join("\n") !== names.join("\n")) {
    select.replaceChildren(make("option", { value: "" }, "any class"), ...names.map((name) => make("option", { value: name }, name)));
    select.value = names.includes(value) ? value : "";
  }
  showClasses($("#confirm-classes"), [], (name) => give("label", name));
  $("#confirm-undo").disabled = !store.state.undoable;
  if (busy || typed.busy) return;
  const elsewhere = sheet && !force;
  if (force || !sheet || (shownAt !== store.state.revision && store.state.believed === store.state.revision)) await load(elsewhere);
}

/** Show a sheet; ``elsewhere``: as something was done that was not done here. */
async function load(elsewhere = false) {
  work(true);
  const wanted = $("#confirm-class").value, number = ++loads;
  shownAt = store.state.revision;
  const answer = await get(`sheet?${new URLSearchParams(wanted ? { class: wanted } : {})}`).catch(() => null);
  if (number !== loads) return;
  sheet = answer;
  draw(!elsewhere);
  if (elsewhere) { replaced = performance.now(); $("#confirm-said").textContent = "Something was done elsewhere: all are guessed anew"; }
  work(false);
}

function draw(focus) {
  const at = document.activeElement;
  const free = !at || at === document.body || at === $("#main") || grid().contains(at);
  grid().replaceChildren(...(sheet?.items ?? []).map(tileOf));
  pointed = null;
  if (free && focus) grid().firstElementChild?.focus({ preventScroll: true });
  $("#confirm-title").replaceChildren(...title());
  $("#confirm-lead").textContent = lead();
  count();
}

function title() {
  const many = sheet?.items.length, wanted = $("#confirm-class").value;
  if (!sheet) return ["Confirm many at once"];
  return wanted ? [many === 1 ? "This one looks like " : `These ${many} look like `, make("em", {}, wanted)] : [many === 1 ? "One guess" : `${many} guesses, the surest first`];
}

function lead() {
  const { labelled, none, unreadable, total } = store.state;
  if (!sheet && labelled + none + unreadable === total) return "Every picture has a label. Look again at the doubtful ones, or finish.";
  if (!sheet) return store.state.classes.length < 2 ? "Label a few pictures of two classes first." : "Nothing that is left looks like that. Choose another class, or go on under Label.";
  const about = Math.round(sheet.wrong);
  return `Read them in order. At the first wrong one, press the key of its class: those before it are confirmed, and the others guessed anew. Where none is wrong, Enter confirms all. ${about ? `About ${about} may be wrong` : "Most likely all are right"}${sheet.sure && sheet.sure < sheet.items.length && about ? `, few among the first ${sheet.sure}` : ""}; ${sheet.waiting} wait in all.`;
}

function tileOf(item) {
  const tile = make("button", { class: "tile", type: "button", "aria-pressed": "false", "data-row": item.row }, shown(item), make("span", { class: "cap" }, make("b", {}, item.as), ` ${percent(item.p)}`));
  tile.addEventListener("click", () => { tile.setAttribute("aria-pressed", tile.getAttribute("aria-pressed") !== "true"); point(tile); count(); });
  return tile;
}

/** Show what would be confirmed by a class for this tile. */
function point(tile) {
  if (typed.busy) return;
  pointed = tile;
  const last = marked().at(-1) ?? pointed;
  let before = Boolean(last?.isConnected);
  for (const each of tiles()) {
    if (each === last) before = false;
    each.classList.toggle("before", before && each.getAttribute("aria-pressed") !== "true");
  }
}

function count() {
  const all = tiles().length, wrong = marked().length;
  $("#confirm-yes").disabled = !all;
  $("#confirm-yes span").textContent = !all ? "Confirm" : !wrong ? `Confirm all ${all}` : all > wrong ? `Confirm the other ${all - wrong}` : "None of them";
}

const asGuessed = (tile) => { const item = sheet.items.find(({ row }) => row === Number(tile.dataset.row)); return [item.row, item.as]; };

const chosen = () => (marked().length ? marked() : pointed?.isConnected ? [pointed] : []);

/** Give a class, or none, to ``wrong``: what is marked or else pointed at; what stands before it is as it was guessed,
 *  unless something was done elsewhere since, which may have been a label of these. */
async function give(kind, name = null, wrong = chosen()) {
  if (!wrong.length || !wrong.every((tile) => tile.isConnected)) { $("#confirm-said").textContent = "Point at a wrong one, or click it, first"; return; }
  const before = shownAt !== store.state.revision ? [] : tiles().slice(0, tiles().indexOf(wrong.at(-1))).filter((tile) => !wrong.includes(tile));
  await say([...before.map((tile) => [asGuessed(tile)[0], "label", asGuessed(tile)[1]]), ...wrong.map((tile) => [asGuessed(tile)[0], kind, name])], before.length ? shownAt : null);
}

/** All as they were guessed; marked ones are not that, and come under Label. */
const confirm = () => sheet && (shownAt !== store.state.revision ? tooSoon() : say(tiles().map((tile) => [asGuessed(tile)[0], marked().includes(tile) ? "not" : "label", asGuessed(tile)[1]]), shownAt));

async function say(marks, revision) {
  if (busy || performance.now() - replaced < UNSEEN) return tooSoon();
  work(true);
  const items = new Map(sheet.items.map((item) => [item.row, item]));
  const state = await mark(marks, "bulk", revision);
  if (!state) return work(false);
  if (!state.marked) return load(true);
  tell(marks, items);
  await reload();
}

/** A new sheet, by votes with what was just done where they come soon. */
async function reload() {
  const end = performance.now() + PATIENCE;
  while (store.state.believed < store.state.revision && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  await load();
}

function tell(marks, items) {
  const confirmed = marks.filter(([row, kind, name]) => kind === "label" && items.get(row).as === name).length;
  const given = marks.filter(([row, kind, name]) => kind === "label" && items.get(row).as !== name);
  const left = marks.filter(([, kind]) => kind === "not").length, none = marks.filter(([, kind]) => kind === "none").length;
  const parts = [confirmed && `${confirmed} confirmed`, given.length && `${given.length === 1 ? "one is" : `${given.length} are`} ${given[0][2]}`, none && `${none === 1 ? "one is" : `${none} are`} of no class`, left && `${left} marked: they come next under Label`];
  $("#confirm-said").textContent = parts.filter(Boolean).join(", ");
  const fresh = marks.filter(([, kind]) => kind === "label").reverse().slice(0, KEPT).map(([row, , name]) => {
    const tile = make("button", { class: "tile", type: "button" }, shown(items.get(row)), make("span", { class: "cap" }, name));
    tile.addEventListener("click", () => look(row));
    return tile;
  });
  $("#confirm-done").replaceChildren(...[...fresh, ...$("#confirm-done").children].slice(0, KEPT));
  $("#confirm-last").hidden = false;
}

async function back() {
  if (busy) return;
  work(true);
  const done = await undo();
  $("#confirm-said").textContent = done ? "Undone" : "There is nothing to undo, or another tab has done something meanwhile";
  $("#confirm-done").replaceChildren();
  $("#confirm-last").hidden = true;
  await reload();
}

export function key(event) {
  const low = event.key.toLowerCase(), onTile = event.target.matches(".tile");
  if (event.target.matches("a, button:not(.tile)") && (event.key === "Enter" || event.key === " ")) return false;
  if (event.key === "Enter") confirm();
  else if (low === "u") back();
  else if (low === "n") give("none");
  else if (low === "x" || event.key === " ") { if (onTile) event.target.click(); else return false; }
  else if (event.key === "/" || event.key === "+") typed.start();
  else if (moved(grid(), event.key)) return true;
  else if (event.key.length === 1 && classOfKey(event.key)) give("label", classOfKey(event.key));
  else if (isSign(event.key)) typed.start(event.key);
  else return false;
  return true;
}
