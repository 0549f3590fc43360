// Small helpers: elements, pictures, numbers. Text is never read as HTML.
export const $ = (selector) => document.querySelector(selector);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "v") node.style.setProperty("--v", value);
    else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A picture of the folder by its number; an empty box that says so where the file is gone. */
export function shown(item, size = "small") {
  const image = make("img", { src: `picture/${item.row}?size=${size}`, alt: item.name, draggable: "false" });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { class: "gone", role: "img", "aria-label": `${item.name}: cannot be shown` }, "This picture cannot be shown any more."));
  });
  return image;
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
export const number = (value) => value.toLocaleString("en");
export const freshId = () => crypto.randomUUID().replaceAll("-", "");

/** Milliseconds in which nobody has seen a picture that came by itself: what is pressed was meant for the one before. */
export const UNSEEN = 500;
export const TOO_SOON = " · what was pressed before this was shown did not count";

/** Whether a key press is meant for a control and not for the page. */
export function typing(event) {
  const at = event.target;
  return event.ctrlKey || event.metaKey || event.altKey || at.matches("input, select, textarea") || document.querySelector("dialog[open]") !== null;
}

/** Move the focus among the children of a grid by an arrow key; true where it did. */
export function moved(grid, key) {
  const tiles = [...grid.querySelectorAll(".tile")];
  if (!tiles.length || !key.startsWith("Arrow")) return false;
  const at = tiles.indexOf(document.activeElement);
  const columns = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  if (!step) return false;
  const next = at < 0 ? tiles[0] : tiles[Math.min(tiles.length - 1, Math.max(0, at + step))];
  next.focus();
  return true;
}

export function theme() {
  const button = $("#theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.setAttribute("aria-pressed", isDark());
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Dark theme is on; switch to light" : "Light theme is on; switch to dark");
  };
  document.documentElement.dataset.theme = localStorage.getItem("paws-theme") || "";
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("paws-theme", document.documentElement.dataset.theme);
    show();
  });
  dark.addEventListener("change", show);
  show();
}
