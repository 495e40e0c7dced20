// Where one person reads: one text at a time, large; record, hear, again, skip.

import { byId, element } from "../dom.js";
import { clearNotice, notice } from "../notices.js";
import { clock } from "../times.js";
import { Trouble } from "../trouble.js";
import { Recorder } from "./recorder.js";

const LOUD = 0.98; // of full scale
const LABELS = { off: "Record", opening: "Starting", on: "Stop", saving: "Saving" };

/** States: `off`, `opening` (the microphone), `on`, `saving`. */
export class Booth {
  #server;
  #outbox;
  #texts; // code of a remark -> {text, unusable}
  #recorder;
  #state = "off";
  #project = null;
  #person = null;
  #taken = new Map(); // prompt -> what the server says of its take, or {waits: take}
  #at = 0;
  #sound = new Audio();

  constructor(server, outbox, { most_s: mostS, remarks }) {
    this.#server = server;
    this.#outbox = outbox;
    this.#texts = remarks;
    this.#recorder = new Recorder(mostS);
    this.#recorder.addEventListener("level", ({ detail }) => this.#showLevel(detail));
    this.#recorder.addEventListener("full", () => this.#full(mostS));
    this.#recorder.addEventListener("lost", ({ detail }) => this.#lost(detail.trouble));
    this.#recorder.addEventListener("silent", () => notice("microphone", remarks.silent.text));
    this.#outbox.addEventListener("sent", ({ detail: { take, answer } }) => this.#arrived(take, answer));
    byId("record").addEventListener("click", () => this.#press());
    byId("back").addEventListener("click", () => this.#go(-1));
    byId("next").addEventListener("click", () => this.#go(1));
    byId("hear").addEventListener("click", () => this.#hear());
    for (const name of ["ended", "pause"]) this.#sound.addEventListener(name, () => this.#showHear());
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => this.isRecording && event.preventDefault());
  }

  get isRecording() {
    return this.#state === "on" || this.#state === "saving";
  }

  /** `found`: what the server says of the person, with `takes` and `next`. */
  enter(project, found) {
    this.#project = project;
    this.#person = found;
    this.#taken = new Map(Object.entries(found.takes).map(([prompt, take]) => [Number(prompt), take]));
    for (const take of this.#outbox.of(project.name, found.id)) this.#taken.set(take.prompt, { waits: take });
    byId("booth-title").textContent = `${found.pseudonym} reads: ${project.title}`;
    byId("prompt").lang = project.language;
    byId("leave").href = `#/${project.name}`;
    this.#at = this.#firstWithout(found.next ?? 0);
    clearNotice("texts");
    this.#say();
    this.#show();
  }

  /** Lets go of the microphone. */
  async leave() {
    this.#sound.pause();
    if (this.#state === "on") await this.#stop();
    this.#person = null;
    await this.#recorder.close();
    this.#showLevel({ peak: 0, seconds: 0 });
  }

  // --- what is pressed -----------------------------------------------------------------------------------------------

  async #press() {
    if (this.#state === "on") return this.#stop();
    if (this.#state !== "off") return;
    this.#sound.pause();
    this.#now("opening");
    try {
      await this.#recorder.open();
    } catch (trouble) {
      this.#now("off");
      if (!(trouble instanceof Trouble)) throw trouble;
      return notice("microphone", trouble.message);
    }
    clearNotice("microphone");
    this.#recorder.start();
    this.#say();
    this.#now("on");
  }

  async #stop() {
    const [project, person, prompt] = [this.#project.name, this.#person.id, this.#at];
    const recordedAt = new Date().toISOString();
    this.#now("saving");
    const sound = await this.#recorder.stop();
    try {
      if (!sound) throw new Trouble("silent", "The microphone gave no sound: that was not recorded.");
      const take = { id: crypto.randomUUID(), project, person, prompt, recordedAt, sound };
      this.#taken.set(prompt, { waits: take });
      const answer = await this.#outbox.add(take); // `#arrived` has shown what it says
      if (answer === null) this.#say("Kept in this browser, and sent when the service can be reached.");
      if (answer?.sound.remarks.length) return;
      if (byId("go-on").checked && this.#person) this.#at = this.#firstWithout(prompt + 1);
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      this.#say(trouble.message, true);
    } finally {
      this.#now("off");
      this.#show();
    }
  }

  #arrived(take, answer) {
    if (take.person !== this.#person?.id || take.project !== this.#project.name) return;
    const newer = this.#outbox.of(take.project, take.person).some(({ prompt }) => prompt === take.prompt);
    if (!newer) this.#taken.set(take.prompt, answer);
    if (take.prompt === this.#at) this.#tell(answer);
    this.#show();
  }

  #go(step) {
    if (this.isRecording) return;
    this.#sound.pause();
    const { length } = this.#project.prompts;
    this.#at = (this.#at + step + length) % length;
    const take = this.#taken.get(this.#at);
    if (take?.sound) this.#tell(take);
    else this.#say();
    this.#show();
  }

  async #hear() {
    if (!this.#sound.paused) return this.#sound.pause();
    const take = this.#taken.get(this.#at);
    if (!take || this.isRecording) return;
    try {
      const path = `v1/studio/projects/${this.#project.name}/takes/${take.id}`;
      const sound = take.waits ? take.waits.sound : await this.#server.blob(path);
      if (this.#sound.src) URL.revokeObjectURL(this.#sound.src);
      this.#sound.src = URL.createObjectURL(sound);
      await this.#sound.play();
      this.#showHear();
    } catch (trouble) {
      if (trouble.name !== "AbortError") this.#say(trouble.message, true);
    }
  }

  #key(event) {
    if (!this.#person || !byId("keys").checked || event.ctrlKey || event.altKey || event.metaKey) return;
    const { target } = event;
    if (document.querySelector("dialog[open]") || target.closest("input:not([type=checkbox]), textarea, select")) return;
    const run = {
      " ": () => !event.repeat && this.#press(),
      h: () => this.#hear(),
      ArrowRight: () => this.#go(1),
      ArrowLeft: () => this.#go(-1),
    }[event.key];
    if (!run || (event.key === " " && target.closest("button, a, input, summary"))) return; // it presses that one
    event.preventDefault();
    run();
  }

  #full(mostS) {
    if (this.#state !== "on") return;
    notice("microphone", `A take ends after ${mostS} seconds: that is kept. Read only what is shown.`);
    this.#stop();
  }

  #lost(trouble) {
    notice("microphone", `${trouble.message} What was recorded is kept.`);
    if (this.#state === "on") this.#stop();
  }

  // --- what is shown -------------------------------------------------------------------------------------------------

  #firstWithout(begin) {
    const { length } = this.#project.prompts;
    for (let i = 0; i < length; i++) if (!this.#taken.has((begin + i) % length)) return (begin + i) % length;
    return begin % length;
  }

  #now(state) {
    this.#state = state;
    byId("record").className = `record ${{ on: "on", opening: "starting", saving: "finishing" }[state] ?? ""}`;
    byId("prompt").classList.toggle("on", state === "on");
    document.title = state === "on" ? "● Studio" : "Studio";
    this.#show();
  }

  #show() {
    if (!this.#person) return;
    const { prompts } = this.#project;
    const isTaken = this.#taken.has(this.#at);
    const done = this.#taken.size;
    if (byId("prompt").textContent !== prompts[this.#at]) byId("prompt").textContent = prompts[this.#at];
    byId("record-label").textContent = this.#state === "off" && isTaken ? "Record again" : LABELS[this.#state];
    byId("next").textContent = isTaken ? "Next" : "Skip";
    const place = `Text ${this.#at + 1} of ${prompts.length}`;
    byId("done").textContent =
      done === prompts.length ? `${place}. All are recorded: thank you!` : `${place}, ${done} recorded`;
    byId("done-bar").setAttribute("aria-valuemax", prompts.length);
    byId("done-bar").setAttribute("aria-valuenow", done);
    byId("done-bar").firstElementChild.style.transform = `scaleX(${done / prompts.length})`;
    for (const name of ["back", "next", "hear"]) byId(name).disabled = this.isRecording || this.#state === "opening";
    byId("hear").disabled ||= !isTaken;
    this.#showHear();
  }

  #showHear() {
    byId("hear").textContent = this.#sound.paused ? "Hear" : "Stop hearing";
  }

  #showLevel({ peak, seconds }) {
    const share = peak > 0 ? Math.max(0, 1 + Math.log10(peak) / 2.5) : 0; // 50 dB
    byId("meter").firstElementChild.style.transform = `scaleX(${share})`;
    byId("meter").classList.toggle("loud", peak >= LOUD);
    byId("meter").setAttribute("aria-valuenow", Math.round(100 * share));
    byId("clock").textContent = clock(seconds);
  }

  #tell({ sound }) {
    const bad = sound.remarks.map((code) => element("p", { className: "bad" }, this.#texts[code].text));
    const said = `Saved: ${sound.seconds.toFixed(1)} s.`;
    byId("remarks").replaceChildren(...(bad.length ? bad : [element("p", { className: "quiet" }, said)]));
  }

  #say(text = "", isBad = false) {
    byId("remarks").replaceChildren(...(text ? [element("p", { className: isBad ? "bad" : "quiet" }, text)] : []));
  }
}
