// Try a picture of one's own, and what a session ends with.
import { $, make, percent } from "./dom.js";
import { act, send, store } from "./store.js";
import { voterWall, voteList } from "./look.js";

const NAMES = { fit: "Fitting and predicting", folders: "Sorting into folders", onnx: "Writing ONNX", report: "Writing the report" };

export function start() {
  const drop = $("#drop");
  for (const input of [$("#file"), $("#camera")]) input.addEventListener("change", () => { if (input.files[0]) attempt(input.files[0]); input.value = ""; });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); if (event.dataTransfer.files[0]) attempt(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file) { location.hash = "try"; attempt(file); }
  });
  for (const button of document.querySelectorAll("[data-finish]")) button.addEventListener("click", () => act("finish", () => ({ what: button.dataset.finish })));
  $("#studio").addEventListener("click", async () => tell((await act("export", () => ({})))?.text));
  $("#import").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (file) tell(await send("import", file).then(({ text }) => text, (error) => error.message));
  });
}

function tell(text) {
  if (!text) return;
  $("#job").hidden = false;
  $("#job").textContent = text;
}

let tried = 0; // pictures: only the answer to the last is shown

async function attempt(file) {
  const number = ++tried;
  const said = $("#try-said");
  said.textContent = "Looking…";
  try {
    const found = await send("try", file);
    if (number !== tried) return;
    const address = URL.createObjectURL(file);
    const image = make("img", { src: address, alt: "The picture to try" });
    image.addEventListener("load", () => URL.revokeObjectURL(address));
    const [name, p] = found.vote[0];
    $("#tried").replaceChildren(image, make("div", {}, make("p", { class: "big" }, name), make("p", { class: "soft" }, `probability ${percent(p)}`), voteList(found.vote), make("h3", {}, "The labelled pictures nearest to it"), voterWall(found.voters)));
    $("#tried").hidden = false;
    said.textContent = "";
  } catch (error) {
    if (number === tried) said.textContent = error.message;
  }
}

export function show() {
  const { job, run, labelled } = store.state;
  $("#run").textContent = run;
  const running = job?.state === "running";
  for (const button of document.querySelectorAll("[data-finish]")) button.disabled = running || !labelled;
  if (!job) return;
  const note = $("#job");
  note.hidden = false;
  note.textContent = running ? `${NAMES[job.what]}… You can go on labelling.` : job.text;
  note.dataset.state = job.state;
  if (job.what === "report" && job.state === "done") $("#report-link").hidden = false;
}
