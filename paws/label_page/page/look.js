// One picture closely: its vote, the labelled pictures behind it, and those that look the same, to label at once.
import { $, make, percent, shown } from "./dom.js";
import { banner, get, mark, store } from "./store.js";

export const voteList = (vote) => make("ul", { class: "vote" }, ...vote.map(([name, p]) => make("li", {}, make("span", { class: "what", title: name }, name), make("i", { v: p }), make("span", { class: "n" }, percent(p)))));

export const voterWall = (voters) => make("div", { class: "small-wall" }, ...voters.map((voter) => make("figure", {}, shown(voter), make("figcaption", { title: voter.name }, `${voter.label} ${percent(voter.weight)}`))));

let asked = 0; // times: only the answer to the last is shown

export async function look(row) {
  const dialog = $("#look"), number = ++asked;
  const found = await get(`look/${row}`).catch((error) => banner(`This picture cannot be looked at closely: ${error.message}`));
  if (!found || number !== asked) return;
  const chosen = new Set();
  const same = make("div", { class: "small-wall", role: "group", "aria-label": "Pictures that look the same" });
  const give = make("button", { type: "button", class: "strong" });
  const select = make("select", { "aria-label": "Class" }, make("option", { value: "" }, "choose a class…"), ...store.state.classes.map(({ name }) => make("option", { value: name }, name)));
  select.value = found.label ?? found.vote[0]?.[0] ?? "";
  const count = () => { give.textContent = chosen.size ? `Label these ${chosen.size + 1}` : "Label this one"; give.disabled = !select.value; };
  for (const each of found.same) {
    const tile = make("button", { class: "tile pick", type: "button", "aria-pressed": "false", "aria-label": each.name }, shown(each));
    tile.addEventListener("click", () => {
      chosen.has(each.row) ? chosen.delete(each.row) : chosen.add(each.row);
      tile.setAttribute("aria-pressed", chosen.has(each.row));
      count();
    });
    same.append(tile);
  }
  select.addEventListener("change", count);
  give.addEventListener("click", async () => {
    give.disabled = true;
    const rows = [found.row, ...chosen];
    if (await mark(rows.map((each) => [each, "label", select.value]), rows.length > 1 ? "bulk" : "other")) dialog.close(); else count();
  });
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const facts = make("div", {}, make("p", { class: "file" }, found.name), found.label ? make("p", {}, "labelled ", make("b", {}, found.label)) : null,
    make("h3", {}, found.vote.length ? "What it is taken for" : "Nothing is known of it yet"), voteList(found.vote),
    found.voters.length ? make("h3", {}, "The labelled pictures nearest to it") : null, found.voters.length ? voterWall(found.voters) : null);
  dialog.replaceChildren(make("div", { class: "closely" }, shown(found, "large"), facts), make("div", { class: "acts" }, select, give, close),
    found.same.length ? make("h3", {}, "These look the same: choose those that are") : null, same);
  count();
  if (!dialog.open) dialog.showModal();
}
