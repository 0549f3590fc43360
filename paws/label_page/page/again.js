// Lists for a second look.
import { $, make, percent, shown } from "./dom.js";
import { get, mark, store } from "./store.js";
import { look } from "./look.js";

const kept = new Set(); // labels that the person has looked at and left as they are
let shownAt = -1;

export async function show(force = false) {
  if (!force && shownAt === store.state.revision) return;
  shownAt = store.state.revision;
  const { doubtful, copies } = await get("again");
  const open = doubtful.filter((each) => !kept.has(`${each.row} ${each.label}`));
  put("#doubtful", open.map(doubt), "No label stands out.");
  put("#contradictions", copies.filter(({ state }) => state === "different").map(pair), "None: pictures that are nearly the same have the same label.");
  put("#copies", copies.filter(({ state }) => state !== "different").map(pair), "None are known.");
}

function put(selector, cards, nothing) {
  $(selector).replaceChildren(...(cards.length ? cards : [make("p", { class: "nothing" }, nothing)]));
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
  const give = async (name) => { await mark([[each.row, "label", name]]); $("#again-said").textContent = `${each.name} is ${name} now`; };
  const keep = () => { kept.add(`${each.row} ${each.label}`); show(true); };
  return make("div", { class: "pair-card" }, make("div", { class: "pics" }, picture(each, each.name)),
    make("p", {}, make("b", {}, each.label), `, more like `, make("b", {}, each.like), make("span", { class: "soft" }, ` – in doubt by ${percent(each.doubt)}`)),
    make("div", { class: "acts" }, button(`It is ${each.like}`, () => give(each.like)), button("It is right", keep)));
}

function pair(each) {
  const [a, b] = each.items;
  const known = [...new Set(each.labels.filter((label) => label !== null))];
  const both = async (name) => { await mark(each.rows.map((row) => [row, "label", name])); $("#again-said").textContent = `Both are ${name} now`; };
  const settled = known.length === 1 && each.labels.every((label) => label !== null);
  return make("div", { class: "pair-card" }, make("div", { class: "pics" }, picture(a, a.label ?? "no label"), picture(b, b.label ?? "no label")),
    make("p", { class: "soft" }, each.equal ? "equal, byte for byte" : `alike: ${each.alike.toFixed(2)}`),
    settled ? null : make("div", { class: "acts" }, ...known.map((name) => button(`Both are ${name}`, () => both(name)))));
}
