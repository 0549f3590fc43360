// The classes with their keys, and the field in which a class is typed.
import { $, make, percent } from "./dom.js";
import { act, store } from "./store.js";

const drawn = new WeakMap();

export const classOfKey = (key) => store.state.classes.find((each) => each.key && each.key === key.toLowerCase())?.name;

/** Whether a key writes something, with which a name may begin. */
export const isSign = (key) => [...key].length === 1 && key !== " ";

/** Show the classes as buttons; ``likely`` are [name, probability] pairs that may be shown with them. */
export function showClasses(node, likely, choose) {
  const content = JSON.stringify([store.state.classes, likely]);
  if (drawn.get(node) === content) return; // a button that has the focus keeps it
  drawn.set(node, content);
  const guess = new Map(likely);
  const best = likely.length ? likely[0][0] : null;
  node.replaceChildren(...store.state.classes.map(({ name, count, key }) => {
    const p = guess.get(name);
    const button = make("button", { type: "button", class: name === best ? "class likely" : "class", title: name, "aria-keyshortcuts": key || null },
      make("span", { class: "fill", v: p ?? 0 }),
      key ? make("kbd", { "aria-hidden": "true" }, key.toUpperCase()) : null,
      make("span", { class: "what" }, name), make("span", { class: "n" }, p === undefined ? String(count) : percent(p), make("span", { class: "unseen" }, p === undefined ? " labelled" : " by the guess")));
    button.addEventListener("click", () => choose(name));
    return button;
  }));
}

/** Every class in a field of its own, to give it another name. */
export function editClasses() {
  const names = store.state.classes.map(({ name }) => name);
  $("#names-list").replaceChildren(...store.state.classes.map(({ name, count }) => {
    const field = make("input", { type: "text", value: name, maxlength: 100, autocomplete: "off", spellcheck: "false", "aria-label": `${name}, ${count} labelled: its name` });
    const button = make("button", { type: "submit", disabled: true }, "Rename");
    const written = () => field.value.trim().replace(/\s+/g, " ");
    field.addEventListener("input", () => {
      button.disabled = !written() || written() === name;
      button.textContent = names.includes(written()) && written() !== name ? "Merge" : "Rename";
    });
    const form = make("form", { class: "rename", "data-of": name }, field, make("span", { class: "n" }, String(count)), button);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const to = written();
      if (!to || to === name || !await act("rename", () => ({ name, to }))) return;
      const begun = [...$("#names-list").children].filter((each) => each !== form).map((each) => [each.dataset.of, each.firstChild.value]);
      editClasses();
      for (const each of $("#names-list").children) { // what is typed in the other fields stays
        const field = each.firstChild, text = new Map(begun).get(each.dataset.of);
        if (text !== undefined && text !== field.value) { field.value = text; field.dispatchEvent(new Event("input")); }
      }
      $("#names-said").textContent = names.includes(to) ? `${name} and ${to} are one class now` : `${name} is ${to} now`;
    });
    return form;
  }));
  if (!$("#names").open) { $("#names-said").textContent = names.length ? "" : "There are none yet."; $("#names").showModal(); }
}

/** The field: type-ahead among the classes, and a new class. ``choose`` gets the name, and what ``aim()`` was when it was begun. */
export class Typed {
  constructor(choose, aim, field = "#typed", list = "#matches") {
    this.choose = choose;
    this.aim = aim;
    this.target = null;
    this.field = $(field);
    this.list = $(list);
    this.names = [];
    this.at = 0;
    this.field.addEventListener("input", () => this.match());
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("focus", () => { this.target ??= this.aim(); });
    this.field.addEventListener("blur", () => { if (document.activeElement !== this.field) this.close(); }); // not where only the window changes
  }

  /** Whether somebody is typing: what is aimed at stays where it is. */
  get busy() {
    return document.activeElement === this.field;
  }

  start(text = "") {
    this.target = this.aim();
    this.field.value = text;
    this.field.focus();
    this.match();
  }

  match() {
    const text = this.field.value.trim().replace(/\s+/g, " ");
    const low = text.toLowerCase();
    const known = store.state.classes.map(({ name }) => name);
    const begins = known.filter((name) => name.toLowerCase().startsWith(low));
    const holds = known.filter((name) => !begins.includes(name) && name.toLowerCase().includes(low));
    this.names = text ? [...begins, ...holds].slice(0, 12) : [];
    this.fresh = text && !known.includes(text) ? text : null;
    if (this.fresh) this.names.push(text);
    this.at = 0;
    this.show();
  }

  show() {
    const open = this.names.length > 0;
    this.list.hidden = !open;
    this.field.setAttribute("aria-expanded", open);
    this.list.replaceChildren(...this.names.map((name, i) => {
      const isNew = this.fresh === name && i === this.names.length - 1;
      const row = make("li", { role: "option", id: `${this.list.id}-${i}`, "aria-selected": String(i === this.at) }, isNew ? `New class “${name}”` : name);
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); this.take(i); });
      return row;
    }));
    if (open) this.field.setAttribute("aria-activedescendant", `${this.list.id}-${this.at}`);
    else this.field.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const count = this.names.length || 1;
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.names.length) this.take(this.at);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.close();
      this.field.blur();
    }
  }

  take(index) {
    const name = this.names[index], target = this.target;
    this.close();
    this.choose(name, target ?? this.aim());
    this.field.blur();
  }

  close() {
    this.field.value = "";
    this.target = null;
    this.names = [];
    this.show();
  }
}
