// Lists for a second look.
import { $, make, percent, shown } from "./dom.js";
import { get, mark, store } from "./store.js";
import { look } from "./look.js";

let shownAt = "";
let asked = 0; // times: only the answer to the last is shown

/** The lists as they are now; ``force``: from the start. Else every card keeps its place, so that none comes under a hand that was meant for another. */
export async function show(force = false) {
  const now = `${store.state.revision} ${store.state.believed}`; // doubts come with what is believed of the labels
  if (!force && shownAt === now) return;
  shownAt = now;
  const number = ++asked;
  const lists = await get("again").catch(() => { shownAt = ""; }); // the next state asks again
  if (!lists || number !== asked) return;
  const { doubtful, copies } = lists;
  if (force) for (const list of ["#doubtful", "#contradictions", "#copies"]) $(list).replaceChildren();
  put("#doubtful", doubtful.map(doubt), "No label stands out.");
  put("#contradictions", copies.filter(({ state }) => state === "different").map(pair), "None: pictures that are nearly the same have the same label.");
  put("#copies", copies.filter(({ state }) => state !== "different").map(pair), "None are known.");
}

/** Add what is new to a list; what does not belong to it any more is shown as settled. */
function put(selector, cards, nothing) {
  const found = new Map(cards.map((card) => [card.dataset.of, card])), list = $(selector);
  list.querySelector(".nothing")?.remove();
  for (const card of list.children) if (!found.delete(card.dataset.of)) settle(card);
  list.append(...found.values());
  if (!list.children.length) list.append(make("p", { class: "nothing" }, nothing));
}

function settle(card) {
  card.classList.add("settled");
  for (const button of card.querySelectorAll(".acts button")) button.disabled = true;
}

function picture(item, caption) {
  const tile = make("button", { class: "tile", type: "button" }, shown(item), make("span", { class: "cap", title: item.name }, caption));
  tile.addEventListener("click", () => look(item.row));
  return tile;
}

function button(text, action) {
  const node = make("button", { type: "button" }, text);
  node.addEventListener("click", action);
  return node;
}

function doubt(each) {
  const give = async (name) => { if (await mark([[each.row, "label", name]])) $("#again-said").textContent = `${each.name} is ${name} now`; };
  const keep = async () => { if (await mark([[each.row, "right", each.label]])) $("#again-said").textContent = `${each.name} stays ${each.label}`; };
  return make("div", { class: "pair-card", "data-of": JSON.stringify([each.row, each.label, each.like]) }, make("div", { class: "pics" }, picture(each, each.name)),
    make("p", {}, make("b", {}, each.label), `, more like `, make("b", {}, each.like), make("span", { class: "soft" }, ` – in doubt by ${percent(each.doubt)}`)),
    make("div", { class: "acts" }, button(`It is ${each.like}`, () => give(each.like)), button("It is right", keep)));
}

function pair(each) {
  const [a, b] = each.items;
  const known = [...new Set(each.labels.filter((label) => label !== null))];
  const both = async (name) => { if (await mark(each.rows.map((row) => [row, "label", name]))) $("#again-said").textContent = `Both are ${name} now`; };
  const settled = known.length === 1 && each.labels.every((label) => label !== null);
  return make("div", { class: "pair-card", "data-of": JSON.stringify([each.rows, each.labels]) }, make("div", { class: "pics" }, picture(a, a.label ?? "no label"), picture(b, b.label ?? "no label")),
    make("p", { class: "soft" }, each.equal ? "equal, byte for byte" : `alike: ${each.alike.toFixed(2)}`),
    settled ? null : make("div", { class: "acts" }, ...known.map((name) => button(`Both are ${name}`, () => both(name)))));
}
