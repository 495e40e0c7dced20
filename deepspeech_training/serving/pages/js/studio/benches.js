// The list of recordings that are corrected, and the form of a new one.

import { byId, element } from "../dom.js";
import { notice } from "../notices.js";
import { Trouble } from "../trouble.js";

export class Benches {
  #server;
  #opened; // called with the name of one that was made

  constructor(server, opened) {
    this.#server = server;
    this.#opened = opened;
    byId("bench-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
  }

  show(benches) {
    byId("bench-list").replaceChildren(
      ...benches.map(({ name, title, counts: { open, accepted } }) =>
        element(
          "li",
          {},
          element(
            "a",
            { href: `#/:listen/${name}` },
            element("strong", {}, title),
            element("span", { className: "quiet" }, `${open} pieces to check, ${accepted} accepted`),
          ),
        ),
      ),
    );
  }

  async #make() {
    const wanted = { title: byId("bench-title").value, language: byId("bench-language").value.trim() };
    try {
      const { name } = await this.#server.send("POST", "v1/studio/listening", wanted);
      byId("bench-form").reset();
      byId("new-bench").open = false;
      this.#opened(name);
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      notice("texts", trouble.message);
    }
  }
}
