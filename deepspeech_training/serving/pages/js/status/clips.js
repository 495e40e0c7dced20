// The best, median and worst clips of the last validation: to read, and to hear.

import { byId, element } from "../dom.js";
import { clearNotice, notice } from "../notices.js";
import { marked } from "../reading.js";
import { percent } from "./amounts.js";

const PARTS = { best: "Best", median: "Median", worst: "Worst" };

export class Clips {
  #server;
  #audio = new Audio();
  #playing = null; // the button of the clip that is heard
  #newer = null; // a list that came while somebody was at the one that is shown

  constructor(server) {
    this.#server = server;
    for (const name of ["ended", "pause"]) this.#audio.addEventListener(name, () => this.#ended());
    byId("clip-list").addEventListener("focusout", ({ relatedTarget }) => {
      if (!byId("clip-list").contains(relatedTarget)) this.#showNewer();
    });
  }

  /** `found` is the answer of /v1/status/clips for this run; an empty name is the training in hand. */
  show(found, run) {
    this.#newer = { ...found, run };
    const inUse = this.#playing || byId("clip-list").contains(document.activeElement);
    if (!inUse) this.#showNewer();
  }

  #showNewer() {
    if (!this.#newer) return;
    const { epoch, of, clips, run } = this.#newer;
    const query = new URLSearchParams({ run, epoch });
    this.#newer = null;
    byId("clips").hidden = !clips.length;
    byId("clips-of").textContent = `epoch ${epoch + 1}, ${of} clips`;
    byId("clip-list").replaceChildren(
      ...Object.entries(PARTS).map(([part, title]) => {
        const numbers = clips.map((clip, number) => [clip, number]).filter(([clip]) => clip.part === part);
        const items = numbers.map(([clip, number]) => this.#item(clip, number, query));
        return element("section", {}, element("h3", {}, title), element("ul", { className: "clips" }, ...items));
      }),
    );
  }

  #item({ src, res, wer, wav_filename: path }, number, query) {
    const name = path.split("/").at(-1);
    const button = element("button", { type: "button", className: "plain", "aria-label": `Hear ${name}` }, "▶");
    button.addEventListener("click", () => this.#hear(button, `v1/status/clips/${number}?${query}`));
    return element(
      "li",
      {},
      button,
      element(
        "div",
        {},
        element("p", { className: "wanted", dir: "auto" }, src || "(nothing)"),
        element("p", { className: "heard", dir: "auto" }, ...(res ? marked(src, res) : [element("em", {}, "nothing heard")])),
        element("p", { className: "quiet", title: path }, `WER ${percent(wer)}, ${name}`),
      ),
    );
  }

  async #hear(button, path) {
    const again = this.#playing === button;
    this.#audio.pause();
    if (again) return;
    try {
      const sound = await this.#server.blob(path);
      if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
      this.#audio.src = URL.createObjectURL(sound);
      await this.#audio.play();
      this.#playing = button;
      button.textContent = "■";
      clearNotice("clip");
    } catch (trouble) {
      if (trouble.code === "not_found" && this.#newer) {
        this.#showNewer();
        notice("clip", "There was a newer validation: these are its clips.", { kind: "info", dismiss: true });
      } else if (trouble.name !== "AbortError") notice("clip", trouble.message);
    }
  }

  #ended() {
    if (this.#playing) this.#playing.textContent = "▶";
    this.#playing = null;
  }
}
