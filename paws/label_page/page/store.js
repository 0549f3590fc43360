// The state that the server told last, and everything that is asked of the server.
import { $, freshId } from "./dom.js";

const listeners = [];
let telling;
let told = ""; // what the server says is wrong, or null while it does not answer
let waiting = Promise.resolve(); // actions are sent one after the other
export const store = { state: null, at: () => [] }; // at: the numbers of the pictures that are shown
export const whenChanged = (listener) => listeners.push(listener);

function adopt(state) {
  if (store.state && state.version < store.state.version) return;
  store.state = state;
  clearTimeout(telling); // once for all that come together, and after what waits for the answer of an action
  telling = setTimeout(() => { for (const listener of listeners) listener(store.state); });
}

export function banner(text) {
  $("#banner").textContent = text;
  $("#banner").hidden = !text;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function answered(path, options) {
  const response = await fetch(path, options);
  if (response.status === 403) throw new Denied();
  const body = await response.json();
  if (!response.ok) throw new Refused(body.error || response.statusText);
  return body;
}

class Denied extends Error {}
export class Refused extends Error {}

function lost(error) {
  told = null;
  banner(error instanceof Denied
    ? "paws label was started again, and this page belongs to the time before: open the link that it printed now."
    : "paws label does not answer. Nothing is lost: start the same command again.");
}

export const get = (path) => answered(path);

/** Send bytes, such as a picture. */
export const send = (path, bytes) => answered(path, { method: "POST", body: bytes });

/** Ask for an action, by ``body()`` when those before are done. Asked again, under the same id, until there is an answer: it happens once. */
export function act(path, body) {
  const attempt = async () => {
    const message = JSON.stringify({ id: freshId(), ...body() });
    for (;;) {
      try {
        const state = await answered(path, { method: "POST", body: message, headers: { "content-type": "application/json" } });
        adopt(state);
        banner(told = state.problem); // what was said before was read
        return state;
      } catch (error) {
        if (error instanceof Refused) { banner(error.message); return null; }
        lost(error);
        if (error instanceof Denied) return null;
        await pause(700);
      }
    }
  };
  waiting = waiting.then(attempt);
  return waiting;
}

/** Mark pictures; with a ``revision``, if nothing was done since. */
export const mark = (marks, how = "other", revision = null) => act("mark", () => ({ marks, how, revision }));

/** Undo, if no other page has done something since. */
export async function undo() {
  const state = await act("undo", () => ({ revision: store.state.revision }));
  return state ? state.undone : false;
}

/** Follow the server for as long as the page is open. */
export async function follow() {
  for (;;) {
    try {
      const after = store.state ? `?after=${store.state.version}&at=${store.at().join(",")}` : "";
      const state = await get(`state${after}`);
      if (store.state && state.version < store.state.version) store.state = null; // it was started again
      adopt(state);
      if (told !== state.problem) banner(told = state.problem);
    } catch (error) {
      lost(error);
      await pause(1000);
    }
  }
}
