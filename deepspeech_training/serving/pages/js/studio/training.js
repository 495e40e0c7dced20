// Training from the studio: start, stop, resume, and how far it is.

import { byId } from "../dom.js";
import { notice } from "../notices.js";
import { minutes } from "./words.js";

const EVERY_MS = 2000;
const WORKING = new Set(["checking", "training", "testing", "exporting", "registering"]);

export class TrainingView {
  #server;
  #next = 0; // timer
  #shown = false;

  /** `save` writes the corpus first; -> whether it could. */
  constructor(server, save) {
    this.#server = server;
    byId("train").addEventListener("click", async () => {
      byId("train").disabled = true;
      if (await save()) await this.#ask("start");
      else byId("train").disabled = false;
    });
    byId("stop-training").addEventListener("click", () => this.#ask("stop"));
    document.addEventListener("visibilitychange", () => this.#look());
  }

  show() {
    this.#shown = true;
    this.#look();
  }

  hide() {
    this.#shown = false;
    clearTimeout(this.#next);
  }

  async #ask(action) {
    try {
      this.#tell(await this.#server.send("POST", "v1/training", { action }));
    } catch (trouble) {
      notice("training", trouble.message);
    }
    this.#look();
  }

  async #look() {
    clearTimeout(this.#next);
    if (!this.#shown || document.hidden) return;
    try {
      this.#tell(await this.#server.get("v1/training"));
    } catch {
      byId("training").textContent = "The service does not answer.";
    }
    if (this.#shown) this.#next = setTimeout(() => this.#look(), EVERY_MS);
  }

  #tell({ status, message, can_train: canTrain, is_paused: isPaused, model_loaded: isLoaded, ...facts }) {
    const isWorking = WORKING.has(status);
    byId("train").hidden = !canTrain || isWorking;
    byId("train").disabled = byId("save").disabled;
    byId("train").textContent = isPaused ? "Save and resume the training" : "Save and train";
    byId("stop-training").hidden = !isWorking || status === "registering";
    // It is read out where it changes: sentences, not figures.
    const isNews = isWorking || isPaused || status === "failed";
    const sentence = isNews ? message : isLoaded ? "A model is served." : "";
    if (byId("training").textContent !== sentence) byId("training").textContent = sentence;
    const { epoch, epochs, share_done: share, left_s: leftS, best } = facts;
    byId("training-bar").hidden = !isWorking || !epoch;
    byId("training-bar").setAttribute("aria-valuenow", Math.round(100 * (share ?? 0)));
    byId("training-bar").firstElementChild.style.transform = `scaleX(${share ?? 0})`;
    const told = [];
    if (epoch) told.push(`epoch ${epoch} of ${epochs}`);
    if (leftS) told.push(`about ${minutes(leftS)} left`);
    if (typeof best?.wer === "number") told.push(`best word error rate ${(100 * best.wer).toFixed(0)} %`);
    byId("training-facts").textContent = told.join(", ");
    byId("training-links").hidden = !isWorking && !isLoaded && !isPaused;
    byId("talk").hidden = !isLoaded;
  }
}
