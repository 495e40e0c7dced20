// Listening to what was recorded: the oddest first; drop, or write what was really said; undo.

import { byId, element } from "../dom.js";
import { notice } from "../notices.js";
import { Trouble } from "../trouble.js";

export class CheckView {
  #server;
  #texts; // code of a remark -> {text, unusable}
  #project = null;
  #first = 0;
  #page = 50;
  #total = 0;
  #undo = []; // {take, mark}: what a take was before
  #sound = new Audio();
  #playing = null; // its button

  constructor(server, remarks) {
    this.#server = server;
    this.#texts = remarks;
    for (const id of ["check-order", "check-person"]) byId(id).addEventListener("change", () => this.#look(0));
    byId("check-earlier").addEventListener("click", () => this.#look(this.#first - this.#page));
    byId("check-later").addEventListener("click", () => this.#look(this.#first + this.#page));
    byId("check-undo").addEventListener("click", () => this.#takeBack());
    for (const name of ["ended", "pause"]) this.#sound.addEventListener(name, () => this.#silent());
  }

  async show(project) {
    this.#project = project;
    this.#undo = [];
    byId("check-undo").disabled = true;
    byId("check-back").href = `#/${project.name}`;
    const everybody = { id: "", pseudonym: "everybody" };
    byId("check-person").replaceChildren(
      ...[everybody, ...project.people].map(({ id, pseudonym }) => element("option", { value: id }, pseudonym)),
    );
    await this.#load(0);
  }

  hide() {
    this.#sound.pause();
  }

  get #path() {
    return `v1/studio/projects/${this.#project.name}/takes`;
  }

  #look(first) {
    this.#load(first).catch(told);
  }

  async #load(first) {
    this.#sound.pause();
    const query = new URLSearchParams({ order: byId("check-order").value, person: byId("check-person").value });
    const found = await this.#server.get(`${this.#path}?${query}&from=${Math.max(0, first)}`);
    this.#first = found.from;
    this.#page = found.page;
    this.#total = found.total;
    byId("check-list").replaceChildren(...found.takes.map((take) => this.#row(take)));
    const last = Math.min(found.total, found.from + found.page);
    byId("check-said").textContent = found.total ? `${found.from + 1} to ${last} of ${found.total}` : "Nothing was recorded yet.";
    byId("check-earlier").disabled = found.from === 0;
    byId("check-later").disabled = last >= found.total;
  }

  #row(take) {
    const { sound, person, shown } = take;
    const hear = element("button", { type: "button", "aria-label": `Hear: ${shown}`, onclick: () => this.#hear(hear, take) }, "▶");
    const input = element("input", { value: take.text || shown, "aria-label": `Text of ${person}`, dir: "auto", maxLength: 300 });
    input.addEventListener("change", () => this.#change(take, { dropped: take.dropped, text: input.value }));
    const drop = element("button", { type: "button" }, take.dropped ? "Keep" : "Drop");
    drop.addEventListener("click", () => this.#change(take, { dropped: !take.dropped, text: take.text }));
    const facts = [
      person,
      `${sound.seconds.toFixed(1)} s`,
      `${take.pace} characters a second`,
      `${Math.round(sound.speech_dbfs)} dBFS`,
      ...sound.remarks.map((code) => this.#texts[code].text),
    ];
    if (take.text) facts.push(`shown was: ${shown}`);
    const row = element("li", { className: take.dropped ? "dropped" : "" }, hear, input, drop);
    row.append(element("p", { className: "quiet" }, facts.join(", ")));
    row.dataset.take = take.id;
    return row;
  }

  /** Marks a take, and remembers what it was. */
  async #change(take, mark) {
    const before = { dropped: take.dropped, text: take.text };
    if (await this.#send(take, mark)) this.#undo.push({ take, mark: before });
    byId("check-undo").disabled = this.#undo.length === 0;
  }

  async #takeBack() {
    const { take, mark } = this.#undo.pop() ?? {};
    byId("check-undo").disabled = this.#undo.length === 0;
    if (take) await this.#send(take, mark);
  }

  /** Whether the server has it. */
  async #send(take, mark) {
    try {
      const kept = await this.#server.send("POST", `${this.#path}/${take.id}/mark`, mark);
      Object.assign(take, kept);
      const row = [...byId("check-list").children].find(({ dataset }) => dataset.take === take.id);
      const place = row && [...row.children].indexOf(document.activeElement);
      const made = this.#row(take);
      row?.replaceWith(made);
      if (place >= 0) made.children[place].focus();
      byId("check-said").textContent = take.dropped ? "Dropped." : "Saved.";
      return true;
    } catch (trouble) {
      told(trouble);
      return false;
    }
  }

  async #hear(button, { id }) {
    const again = this.#playing === button;
    this.#sound.pause();
    if (again) return;
    try {
      const sound = await this.#server.blob(`${this.#path}/${id}`);
      if (this.#sound.src) URL.revokeObjectURL(this.#sound.src);
      this.#sound.src = URL.createObjectURL(sound);
      await this.#sound.play();
      this.#playing = button;
      button.textContent = "■";
    } catch (trouble) {
      if (trouble.name !== "AbortError") told(trouble);
    }
  }

  #silent() {
    if (this.#playing) this.#playing.textContent = "▶";
    this.#playing = null;
  }
}

function told(trouble) {
  if (!(trouble instanceof Trouble)) throw trouble;
  notice("check", trouble.message);
}
