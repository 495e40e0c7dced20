// The list of projects, and the form of a new one.

import { byId, element } from "../dom.js";
import { notice } from "../notices.js";
import { leftOut, minutes, people } from "./words.js";

const MOST_TEXT_BYTES = 8 * 2 ** 20;

export class Projects {
  #server;
  #opened; // called with the name of a project that was made

  constructor(server, opened) {
    this.#server = server;
    this.#opened = opened;
    byId("choose-texts").addEventListener("click", () => byId("texts-file").click());
    byId("texts-file").addEventListener("change", () => this.#take(byId("texts-file").files[0]));
    byId("project-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
  }

  show(projects) {
    byId("no-projects").hidden = projects.length > 0;
    if (!projects.length) byId("new-project").open = true;
    byId("project-list").replaceChildren(
      ...projects.map(({ name, title, num_prompts, num_people, num_takes, seconds }) =>
        element(
          "li",
          {},
          element(
            "a",
            { href: `#/${name}` },
            element("strong", {}, title),
            element(
              "span",
              { className: "quiet" },
              `${num_prompts} texts, ${people(num_people)}, ${num_takes} takes, ${minutes(seconds)}`,
            ),
          ),
        ),
      ),
    );
  }

  async #take(file) {
    byId("texts-file").value = "";
    if (!file) return;
    if (file.size > MOST_TEXT_BYTES) return notice("texts", `${file.name} is larger than 8 MB.`);
    try {
      byId("texts").value = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      if (!byId("title").value) byId("title").value = file.name.replace(/\.[^.]*$/, "").slice(0, 80);
    } catch {
      notice("texts", `${file.name} is not written in UTF-8: save it as UTF-8 in an editor, and take it again.`);
    }
  }

  async #make() {
    const wanted = {
      title: byId("title").value,
      texts: byId("texts").value,
      repeats: Number(byId("repeats").value),
      language: byId("language").value.trim(),
      telling_first: byId("telling-first").checked,
      consent: byId("consent").value,
    };
    try {
      const made = await this.#server.send("POST", "v1/studio/projects", wanted);
      byId("project-form").reset();
      byId("new-project").open = false;
      leftOut(made);
      this.#opened(made.name);
    } catch (trouble) {
      notice("texts", trouble.message);
    }
  }
}
