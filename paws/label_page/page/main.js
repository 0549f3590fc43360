// The parts of the page, the keys, and the state that follows the server.
import { $, make, number, theme, typing } from "./dom.js";
import { follow, store, whenChanged } from "./store.js";
import * as label from "./label.js";
import * as confirm from "./confirm.js";
import * as again from "./again.js";
import * as finish from "./finish.js";

const VIEWS = { label, confirm, again, try: finish, finish };
const name = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "label");

function route() {
  for (const view of Object.keys(VIEWS)) $(`#${view}`).hidden = view !== name();
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.hash === `#${name()}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (store.state) VIEWS[name()].show(true);
  $("#main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function progress({ labelled, none, total }) {
  const bar = make("i", { v: `${(100 * (labelled + none)) / total}%` });
  $("#done").replaceChildren(bar, make("span", {}, make("b", {}, number(labelled + none)), ` of ${number(total)}`));
  $("#done").setAttribute("aria-label", `${labelled + none} of ${total} pictures labelled`);
}

document.addEventListener("keydown", (event) => {
  if (!store.state) return;
  if (event.altKey && !event.ctrlKey && "12345".includes(event.key)) { location.hash = Object.keys(VIEWS)[Number(event.key) - 1]; event.preventDefault(); return; }
  if (typing(event)) return;
  if (event.repeat && !event.key.startsWith("Arrow")) { event.preventDefault(); return; } // a key that is held is one: nobody saw what came since
  if (event.key === "?") { $("#keys").showModal(); event.preventDefault(); return; }
  if (VIEWS[name()].key?.(event)) event.preventDefault();
});

// The mouse that has chosen something in a list is at the pictures again: keys are meant for these and not for the list.
$("#main").addEventListener("pointerover", ({ target }) => {
  const at = document.activeElement;
  if (at.matches("#guessing, #confirm-class") && target !== at) at.blur();
});

const asked = new URLSearchParams(location.search).get("view");
history.replaceState(null, "", `/${asked ? `#${asked}` : location.hash}`); // the token does not stay in the address
theme();
label.start();
confirm.start();
finish.start();
$("#help").addEventListener("click", () => $("#keys").showModal());
addEventListener("hashchange", route);
whenChanged((state) => { progress(state); VIEWS[name()].show(); });
route();
follow();
