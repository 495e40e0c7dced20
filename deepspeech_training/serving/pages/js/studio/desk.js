// Recordings that the model has cut and transcribed: what it was least sure of comes first; accept, correct, reject;
// undo; and the corpus that comes of what was accepted.

import { byId, element } from "../dom.js";
import { clearNotice, notice } from "../notices.js";
import { Trouble } from "../trouble.js";

const DOUBTFUL = 0.8; // words below are named
const WORDS_NAMED = 5;

export class DeskView {
  #server;
  #bench = null;
  #first = 0;
  #page = 30;
  #undo = []; // {piece, verdict}: what a person had said of a piece before
  #sound = new Audio();
  #playing = null; // its button

  constructor(server) {
    this.#server = server;
    for (const id of ["desk-state", "desk-order"]) byId(id).addEventListener("change", () => this.#run(() => this.#load(0)));
    byId("desk-earlier").addEventListener("click", () => this.#run(() => this.#load(this.#first - this.#page)));
    byId("desk-later").addEventListener("click", () => this.#run(() => this.#load(this.#first + this.#page)));
    byId("desk-undo").addEventListener("click", () => this.#run(() => this.#takeBack()));
    byId("desk-choose").addEventListener("click", () => byId("desk-files").click());
    byId("desk-files").addEventListener("change", () => this.#run(() => this.#addAll([...byId("desk-files").files])));
    byId("desk-save").addEventListener("click", () => this.#run(() => this.#save()));
    byId("desk-train").addEventListener("click", () => this.#run(() => this.#train()));
    for (const name of ["ended", "pause"]) this.#sound.addEventListener(name, () => this.#silent());
  }

  async show(name) {
    this.#bench = name;
    this.#undo = [];
    byId("desk-undo").disabled = true;
    byId("desk-state").value = "open";
    byId("desk-saved").replaceChildren();
    await this.#load(0);
  }

  hide() {
    this.#sound.pause();
  }

  get #path() {
    return `v1/studio/listening/${this.#bench}`;
  }

  /** What goes wrong becomes a notice. */
  async #run(work) {
    try {
      await work();
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      notice("desk", trouble.message);
    }
  }

  async #load(first) {
    this.#sound.pause();
    const query = new URLSearchParams({ state: byId("desk-state").value, order: byId("desk-order").value });
    const found = await this.#server.get(`${this.#path}?${query}&from=${Math.max(0, first)}`);
    if (!found.pieces.length && found.from > 0) return this.#load(found.from - found.page);
    this.#first = found.from;
    this.#page = found.page;
    byId("desk-title").textContent = found.title;
    byId("desk-recordings").replaceChildren(...found.recordings.map((recording) => this.#recording(recording)));
    byId("desk-list").replaceChildren(...found.pieces.map((piece) => this.#row(piece)));
    byId("desk-earlier").disabled = found.from === 0;
    byId("desk-later").disabled = found.from + found.page >= found.total;
    this.#count(found.counts);
  }

  #count({ open, accepted, rejected }) {
    byId("desk-said").textContent = `${open} to check, ${accepted} accepted, ${rejected} rejected`;
    byId("desk-save").disabled = byId("desk-train").disabled = accepted === 0;
  }

  #recording({ id, name, pieces }) {
    const remove = element("button", { type: "button", className: "plain", "aria-label": `Delete ${name}` }, "Delete");
    remove.addEventListener("click", () => this.#run(() => this.#remove(id, name)));
    return element("li", {}, `${name}: ${pieces} ${pieces === 1 ? "piece" : "pieces"} `, remove);
  }

  #row(piece) {
    const hear = element("button", { type: "button", "aria-label": `Hear: ${piece.heard}` }, "▶");
    hear.addEventListener("click", () => this.#run(() => this.#hear(hear, piece)));
    const input = element("input", { value: piece.text || piece.heard, "aria-label": `What is said: ${piece.heard}`, dir: "auto", maxLength: 300 });
    const judge = (state) => this.#run(() => this.#judge(row, piece, { state, text: input.value }));
    input.addEventListener("keydown", ({ key }) => key === "Enter" && judge("accepted"));
    const states = { accepted: "Accept", rejected: "Reject", open: "Check again" };
    const buttons = Object.entries(states)
      .filter(([state]) => state !== piece.state)
      .map(([state, label]) => element("button", { type: "button", onclick: () => judge(state) }, label));
    const row = element("li", {}, hear, input, element("span", { className: "actions" }, ...buttons), facts(piece));
    return row;
  }

  /** Sends what a person says of a piece; then the next one has the focus. */
  async #judge(row, piece, verdict) {
    const before = { state: piece.state, text: piece.text };
    const { counts, ...kept } = await this.#server.send("POST", `${this.#path}/pieces/${piece.id}/verdict`, verdict);
    clearNotice("desk");
    this.#undo.push({ piece, verdict: before });
    byId("desk-undo").disabled = false;
    Object.assign(piece, kept);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (next) {
      this.#count(counts);
      next.querySelector("input").focus();
    } else {
      await this.#load(this.#first);
      byId("desk-title").focus();
    }
  }

  async #takeBack() {
    const last = this.#undo.at(-1);
    if (!last) return;
    await this.#server.send("POST", `${this.#path}/pieces/${last.piece.id}/verdict`, last.verdict);
    this.#undo.pop();
    byId("desk-undo").disabled = this.#undo.length === 0;
    await this.#load(this.#first);
  }

  async #addAll(files) {
    byId("desk-files").value = "";
    byId("desk-choose").disabled = true;
    try {
      for (const [number, file] of files.entries()) {
        const which = files.length > 1 ? ` (${number + 1} of ${files.length})` : "";
        notice("adding", `${file.name} is sent, cut and transcribed${which}.`, { kind: "info", dismiss: false });
        const query = new URLSearchParams({ name: file.name });
        const path = `${this.#path}/recordings/${crypto.randomUUID()}?${query}`;
        const { pieces } = await this.#server.send("PUT", path, new Blob([file], { type: "application/octet-stream" }));
        if (!pieces) notice("desk", `The model has heard no words in ${file.name}.`);
      }
    } finally {
      clearNotice("adding");
      byId("desk-choose").disabled = false;
      await this.#load(0);
    }
  }

  async #remove(id, name) {
    if (!confirm(`Delete ${name} and its pieces, in the corpus too? A model that was trained on it stays.`)) return;
    await this.#server.send("DELETE", `${this.#path}/recordings/${id}`);
    this.#undo = [];
    byId("desk-undo").disabled = true;
    await this.#load(0);
    byId("desk-title").focus();
  }

  async #save() {
    const { sets, folder, version } = await this.#server.send("POST", `${this.#path}/corpus`, {});
    const clips = Object.entries(sets).map(([name, count]) => `${name}: ${count} ${count === 1 ? "clip" : "clips"}`);
    byId("desk-saved").replaceChildren(
      element("p", {}, `Saved in ${folder}, version ${version}: ${clips.join(", ")}.`),
    );
    clearNotice("desk");
  }

  async #train() {
    await this.#save();
    await this.#server.send("POST", "v1/training", { action: "start" });
    byId("desk-saved").append(element("p", {}, element("a", { href: "status" }, "Watch the training")));
  }

  async #hear(button, { id }) {
    const again = this.#playing === button;
    this.#sound.pause();
    if (again) return;
    const sound = await this.#server.blob(`${this.#path}/pieces/${id}`);
    if (this.#sound.src) URL.revokeObjectURL(this.#sound.src);
    this.#sound.src = URL.createObjectURL(sound);
    try {
      await this.#sound.play();
    } catch (error) {
      if (error.name === "AbortError") return; // another one was started meanwhile
      throw new Trouble("sound", `This browser cannot play it: ${error.message}`);
    }
    this.#playing = button;
    button.textContent = "■";
  }

  #silent() {
    if (this.#playing) this.#playing.textContent = "▶";
    this.#playing = null;
  }
}

/** Where a piece comes from, and how sure the model is of it. */
function facts({ name, start_s: from, end_s: to, confidence, words, text, heard }) {
  const doubtful = words.filter((word) => word.confidence < DOUBTFUL).sort((a, b) => a.confidence - b.confidence);
  const said = [`${name}, ${clock(from)} to ${clock(to)}`, `sure of ${Math.round(100 * confidence)} %`];
  if (doubtful.length) said.push(`doubtful: ${doubtful.slice(0, WORDS_NAMED).map((word) => word.text).join(", ")}`);
  if (text) said.push(`heard was: ${heard}`);
  return element("p", { className: "quiet" }, said.join("; "));
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
