// "These 40 look like boots": mark the wrong ones, confirm the rest.
import { $, make, moved, percent, shown } from "./dom.js";
import { classOfKey } from "./classes.js";
import { get, mark, store, undo } from "./store.js";

let group = null;
let wrong = new Map(); // number of a picture that is marked -> its class, null where that is not said
let pointed = null; // the tile that the mouse or the focus came to last
let shownAt = -1;
let busy = false;

export function start() {
  $("#confirm-yes").addEventListener("click", confirm);
  $("#confirm-undo").addEventListener("click", back);
  for (const event of ["pointerover", "focusin"]) $("#confirm-grid").addEventListener(event, ({ target }) => { pointed = target.closest(".tile") ?? pointed; });
  for (const select of [$("#confirm-class"), $("#confirm-order")]) select.addEventListener("change", () => load());
  $("#confirm-other").addEventListener("change", (event) => { if (event.target.value) give(event.target.value); });
}

/** Show a group; the one that is there stays until it is confirmed or another tab has changed its pictures. */
export async function show(force = false) {
  fill($("#confirm-class"), "any class");
  fill($("#confirm-other"), "something else");
  $("#confirm-undo").disabled = !store.state.undoable;
  if (busy) return;
  if (force || !group || (shownAt !== store.state.revision && store.state.believed === store.state.revision)) await load();
}

function fill(select, first) {
  const names = store.state.classes.map(({ name }) => name);
  if (select.options.length === names.length + 1) return;
  const value = select.value;
  select.replaceChildren(make("option", { value: "" }, first), ...names.map((name) => make("option", { value: name }, name)));
  select.value = value;
}

async function load() {
  busy = true;
  const wanted = $("#confirm-class").value;
  shownAt = store.state.revision;
  const asked = new URLSearchParams({ teach: $("#confirm-order").value || "0", ...(wanted ? { class: wanted } : {}) });
  group = await get(`group?${asked}`).catch(() => null);
  busy = false;
  wrong = new Map();
  draw();
}

function draw() {
  const lead = $("#confirm-lead");
  const grid = $("#confirm-grid");
  $("#confirm-yes").disabled = !group;
  if (!group) {
    $("#confirm-title").textContent = "Confirm many at once";
    lead.textContent = store.state.classes.length < 2 ? "Label a few pictures of two classes first." : "No class has pictures that are sure enough. Label some more, or choose a class to see its pictures.";
    grid.replaceChildren();
    count();
    return;
  }
  const one = group.items.length === 1;
  $("#confirm-title").replaceChildren(...(group.label ? [`${one ? "This one looks" : `These ${group.items.length} look`} like `, make("em", {}, group.label)]
    : [one ? "This one teaches most" : `These ${group.items.length} teach most`]));
  const about = Math.round(group.wrong);
  lead.textContent = `${group.label ? "" : "Each stands with what it looks like. "}${about ? `About ${about} of them may not be` : "Most likely all of them are"}: point at each and press the key of its class, or mark it with a click or the space bar; then Enter confirms the rest.${group.sure || $("#confirm-order").value ? "" : " No class has enough sure ones now, so look closely."} ${group.waiting} pictures ${group.label ? "look like it in all" : "wait for a label"}.`;
  grid.replaceChildren(...group.items.map(tileOf));
  if (!document.activeElement || document.activeElement === document.body || document.activeElement === $("#main")) grid.firstElementChild?.focus({ preventScroll: true });
  count();
}

function tileOf(item) {
  const p = item.guess.find(([name]) => name === item.as)?.[1];
  const said = [group.label ? "" : item.as, p === undefined ? "" : percent(p)].join(" ").trim();
  const tile = make("button", { class: "tile", type: "button", "aria-pressed": "false", "data-row": item.row }, shown(item), make("span", { class: "cap" }, said || item.name));
  const caption = tile.lastChild.textContent;
  tile.addEventListener("click", () => put(tile, wrong.has(item.row) ? undefined : null));
  tile.addEventListener("marked", ({ detail: name }) => {
    if (name === undefined) wrong.delete(item.row); else wrong.set(item.row, name);
    tile.setAttribute("aria-pressed", name !== undefined);
    tile.lastChild.textContent = name ?? caption;
  });
  return tile;
}

/** Mark a tile: with its class, with null where that is not said, not at all with undefined. */
function put(tile, name) {
  tile.dispatchEvent(new CustomEvent("marked", { detail: name }));
  count();
}

function count() {
  const right = group ? group.items.length - wrong.size : 0;
  $("#confirm-yes span").textContent = !group ? "Confirm" : right ? `Confirm ${right === group.items.length ? `all ${right}` : `the other ${right}`}` : "None of them";
  $("#confirm-other").disabled = !open().length;
}

/** Tiles that are marked without a class. */
const open = () => [...document.querySelectorAll("#confirm-grid .tile")].filter((tile) => wrong.get(Number(tile.dataset.row)) === null);

async function confirm() {
  if (!group || busy) return;
  busy = true;
  const { label, items } = group;
  const marks = items.map(({ row, as }) => (!wrong.has(row) ? [row, "label", as] : wrong.get(row) ? [row, "label", wrong.get(row)] : [row, "not", as]));
  const state = await mark(marks, "bulk");
  busy = false;
  if (!state) return;
  const given = [...wrong.values()].filter(Boolean).length, left = wrong.size - given;
  $("#confirm-said").replaceChildren(make("b", {}, `${items.length - wrong.size} ${label || "as they looked"}`), given ? `, ${given} of other classes` : "", left ? `, ${left} marked: they come next under Label` : "");
  group = null;
  wrong = new Map();
  await load();
  $("#confirm-grid").firstElementChild?.focus({ preventScroll: true });
}

/** Give a class to the pictures that are marked without one; where there is none, to the one that is pointed at. */
function give(name) {
  $("#confirm-other").value = "";
  const tiles = open();
  if (!tiles.length && pointed?.isConnected) tiles.push(pointed);
  for (const tile of tiles) put(tile, name === group?.items.find(({ row }) => row === Number(tile.dataset.row))?.as ? undefined : name);
}

async function back() {
  const done = await undo();
  $("#confirm-said").textContent = done ? "Undone" : "There is nothing to undo, or another tab has done something meanwhile";
  await load();
}

export function key(event) {
  const grid = $("#confirm-grid");
  if (event.key === "Enter") { if (event.target.matches("a, button:not(.tile)")) return false; confirm(); }
  else if (event.key.toLowerCase() === "u") back();
  else if (event.key.toLowerCase() === "x" || (event.key === " " && event.target.matches(".tile"))) { if (event.target.matches(".tile")) event.target.click(); }
  else if (moved(grid, event.key)) return true;
  else if (event.key.length === 1 && group && classOfKey(event.key)) give(classOfKey(event.key));
  else return false;
  return true;
}
