"use strict";
const $ = (selector) => document.querySelector(selector);

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function theme() {
  const button = $("#theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.setAttribute("aria-pressed", isDark());
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Dark theme is on; switch to light" : "Light theme is on; switch to dark");
  };
  button.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; show(); });
  dark.addEventListener("change", show);
  show();
}

function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
    const order = (a, b) => column ? key(a) - key(b) : key(b).localeCompare(key(a), undefined, { numeric: true });
    const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? 1 : -1) * order(a, b));
    table.tBodies[0].append(...rows);
  }));
}

const percent = (share) => `${Math.round(100 * share)} %`;

/** The pictures of the page by row, and the nodes that show them. */
class Pictures {
  constructor(data) { Object.assign(this, data); this.rows = [...data.names.keys()]; }

  image(i, alt) {
    return this.thumbs[i] ? make("img", { src: this.thumbs[i], alt })
      : make("span", { class: "gone", role: "img", "aria-label": `${alt}: the file cannot be opened` }, "no image");
  }

  caption(i) {
    if (this.given[i] >= 0) return `${this.names[i]}, labelled ${this.classes[this.given[i]]}`;
    return `${this.names[i]}, predicted ${this.classes[this.predicted[i]]}, ${percent(this.probability[i])}`;
  }

  flags(i) {
    const flags = [];
    if (this.given[i] < 0 && this.truth[i] >= 0 && this.truth[i] !== this.predicted[i]) flags.push(`is ${this.classes[this.truth[i]]}`);
    if (this.abstains?.[i]) flags.push("abstains");
    return flags.join(" · ");
  }

  /** What stands below a picture, in the wall and on the map. */
  body(i) {
    const labelled = this.given[i] >= 0;
    const name = this.classes[labelled ? this.given[i] : this.predicted[i]];
    const nameLine = make("div", { class: "name" }, make("span", { title: name }, name), make("span", { class: "n" }, labelled ? "label" : percent(this.probability[i])));
    const body = make("div", { class: "body" }, nameLine);
    if (!labelled) body.append(make("div", { class: "sure", style: `--v:${this.probability[i]}` }));
    const flags = this.flags(i);
    if (flags) body.append(make("div", { class: "flags" }, flags));
    body.append(make("div", { class: "file" }, this.names[i]));
    const strange = [this.unfamiliar && `unfamiliar ${this.unfamiliar[i].toFixed(2)}`, this.none?.[i] > 0.005 && `of no class ${percent(this.none[i])}`];
    if (!labelled && strange.some(Boolean)) body.append(make("div", { class: "soft" }, strange.filter(Boolean).join(", ")));
    const near = !labelled && this.neighbours ? this.neighbours[i].map((j, k) => [j, this.weights?.[i][k]]).filter(([j]) => j >= 0) : [];
    if (near.length) body.append(make("div", { class: "near" }, ...near.map(([j, weight]) => {
      const label = this.classes[this.given[j]];
      const share = weight === undefined ? [] : [percent(weight)];
      return make("figure", { title: [label, ...share.map((text) => `${text} of the vote`), this.names[j]].join(", ") },
        this.image(j, `labelled ${label}: ${this.names[j]}`), ...[...share, label].map((text) => make("figcaption", {}, text)));
    })));
    return body;
  }
}

const PAGE = 48;

function wall(pictures) {
  const form = $("#filters"), cards = $("#cards"), more = $("#more");
  const range = (name, text) => { const input = form.elements[name]; if (input) input.nextElementSibling.textContent = text(input.value); };
  const all = pictures.rows.filter((i) => pictures.given[i] < 0);
  const widest = Math.max(0.01, ...all.map((i) => pictures.unfamiliar?.[i] ?? 0));
  const orders = {
    unsure: (a, b) => pictures.probability[a] - pictures.probability[b],
    sure: (a, b) => pictures.probability[b] - pictures.probability[a],
    unfamiliar: (a, b) => pictures.unfamiliar[b] - pictures.unfamiliar[a],
    none: (a, b) => pictures.none[b] - pictures.none[a],
    name: (a, b) => pictures.names[a].localeCompare(pictures.names[b], undefined, { numeric: true }),
  };
  let found = [], shown = 0;

  function append() {
    cards.append(...found.slice(shown, shown + PAGE).map((i) => make("li", { "data-row": i }, pictures.image(i, pictures.caption(i)), pictures.body(i))));
    shown = Math.min(found.length, shown + PAGE);
    more.hidden = shown === found.length;
    $("#count").textContent = found.length ? `${found.length} of ${all.length} images, ${shown} shown` : `None of ${all.length} images`;
  }

  function filter() {
    const value = (name) => form.elements[name]?.value ?? "";
    const checked = (name) => form.elements[name]?.checked ?? false;
    const most = value("confidence") / 100, least = widest * value("unfamiliar") / 100;
    range("confidence", (v) => `${v} %`);
    range("unfamiliar", () => least.toFixed(2));
    found = all.filter((i) => (value("class") === "" || pictures.predicted[i] === Number(value("class")))
      && pictures.probability[i] <= most + 1e-9
      && (least === 0 || pictures.unfamiliar[i] >= least - 1e-9)
      && (!checked("none") || pictures.none[i] > 0.5)
      && (!checked("abstains") || pictures.abstains[i])
      && (!checked("wrong") || (pictures.truth[i] >= 0 && pictures.truth[i] !== pictures.predicted[i])));
    found.sort((a, b) => orders[value("order")](a, b) || a - b);
    cards.replaceChildren();
    shown = 0;
    append();
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  more.addEventListener("click", () => {
    const next = shown;
    append();
    cards.children[next]?.setAttribute("tabindex", "-1");
    cards.children[next]?.focus({ preventScroll: true });
  });
  filter();
}

const MARGIN = 28;

function map(pictures) {
  const svg = $("#points"), tip = $("#tip");
  const sheet = svg.parentElement;  // it listens: an <svg> with focus listeners would become a tab stop itself
  const space = "http://www.w3.org/2000/svg";
  const narrow = matchMedia("(max-width: 40rem)");
  let x = [], y = [];
  const group = (i) => pictures.given[i] >= 0 ? pictures.given[i] : pictures.predicted[i];
  const radius = pictures.rows.length > 600 ? 4.5 : 6;
  const points = pictures.rows.map((i) => {
    const point = document.createElementNS(space, "circle");
    const labelled = pictures.given[i] >= 0;
    const attributes = { r: labelled ? radius + 1.5 : radius, fill: pictures.colours[group(i)],
      role: "img", tabindex: -1, "aria-label": pictures.caption(i), "data-row": i };
    for (const [name, value] of Object.entries(attributes)) point.setAttribute(name, value);
    if (labelled) point.classList.add("labelled");
    return point;
  });
  const drawn = [...points].sort((a, b) => a.classList.contains("labelled") - b.classList.contains("labelled"));
  const largest = pictures.classes.map((_, c) => [c, pictures.rows.filter((i) => group(i) === c)])
    .filter(([, rows]) => rows.length).sort((a, b) => b[1].length - a[1].length).slice(0, 24);
  const texts = largest.map(([c]) => {
    const text = document.createElementNS(space, "text");
    text.setAttribute("aria-hidden", "true");
    text.textContent = pictures.classes[c].length > 18 ? `${pictures.classes[c].slice(0, 17)}…` : pictures.classes[c];
    return text;
  });
  svg.append(...drawn, ...texts);

  /** Spread the points over a sheet as wide or as narrow as the screen; a class's name stands amid its images. */
  function place() {
    const [width, height] = narrow.matches ? [520, 600] : [1000, 620];
    const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
    x = pictures.x.map((v) => MARGIN + v * (width - 2 * MARGIN));
    y = pictures.y.map((v) => MARGIN + v * (height - 2 * MARGIN));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    points.forEach((point, i) => { point.setAttribute("cx", x[i].toFixed(1)); point.setAttribute("cy", y[i].toFixed(1)); });
    texts.forEach((text, k) => {
      const half = 6 * text.textContent.length + 8;  // about half its width, so that it stays inside
      text.setAttribute("x", Math.min(width - half, Math.max(half, middle(largest[k][1].map((i) => x[i])))));
      text.setAttribute("y", middle(largest[k][1].map((i) => y[i])) + 6);
    });
  }

  function show(i) {
    tip.replaceChildren(pictures.image(i, pictures.caption(i)), pictures.body(i));
    tip.hidden = false;
    const frame = svg.getBoundingClientRect(), at = points[i].getBoundingClientRect();
    const left = at.left - frame.left, top = at.top - frame.top;
    tip.style.left = `${Math.max(4, Math.min(frame.width - tip.offsetWidth - 4, left > frame.width / 2 ? left - tip.offsetWidth - 14 : left + 20))}px`;
    tip.style.top = `${Math.max(4, Math.min(frame.height - tip.offsetHeight - 4, top - tip.offsetHeight / 2))}px`;
  }

  /** The nearest visible point in a direction, sideways steps counting double. */
  function next(i, dx, dy) {
    let best = -1, least = Infinity;
    for (const j of pictures.rows) {
      const along = (x[j] - x[i]) * dx + (y[j] - y[i]) * dy, across = Math.abs((x[j] - x[i]) * dy) + Math.abs((y[j] - y[i]) * dx);
      if (along > 0 && along + 2 * across < least && !points[j].classList.contains("faint")) [best, least] = [j, along + 2 * across];
    }
    return best;
  }

  let entry = 0;
  function enter(i) {
    points[entry].setAttribute("tabindex", -1);
    points[entry = i].setAttribute("tabindex", 0);
  }
  const row = (event) => event.target.dataset?.row === undefined ? -1 : Number(event.target.dataset.row);
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  sheet.addEventListener("pointerover", (event) => { if (row(event) >= 0) show(row(event)); });
  sheet.addEventListener("pointerout", () => { if (document.activeElement?.closest("#points") === null) tip.hidden = true; });
  sheet.addEventListener("focusin", (event) => { if (row(event) >= 0) { enter(row(event)); show(row(event)); } });
  sheet.addEventListener("focusout", () => { tip.hidden = true; });
  sheet.addEventListener("click", (event) => { if (row(event) >= 0) { event.target.focus({ preventScroll: true }); show(row(event)); } });
  sheet.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
    if (!arrows[event.key] || row(event) < 0) return;
    event.preventDefault();
    const found = next(row(event), ...arrows[event.key]);
    if (found >= 0) points[found].focus({ preventScroll: true });
  });

  function highlight() {
    const chosen = $("#highlight").value, labelled = $("#map-labelled").checked;
    const visible = pictures.rows.filter((i) => (chosen === "" || group(i) === Number(chosen)) && (!labelled || pictures.given[i] >= 0));
    const kept = new Set(visible);
    points.forEach((point, i) => point.classList.toggle("faint", !kept.has(i)));
    if (visible.length && !kept.has(entry)) enter(visible[0]);
  }
  $("#highlight").addEventListener("input", highlight);
  $("#map-labelled").addEventListener("input", highlight);
  narrow.addEventListener("change", place);
  place();
  enter(0);
}

theme();
document.querySelectorAll("table.sortable").forEach(sortable);
const data = $("#pictures");
if (data) {
  const pictures = new Pictures(JSON.parse(data.textContent));
  map(pictures);
  wall(pictures);
}
