// One project: who reads, what is read, and the corpus that comes of it.

import { byId, element } from "../dom.js";
import { clearNotice, notice } from "../notices.js";
import { leftOut, minutes, people } from "./words.js";

export class ProjectView {
  #server;
  #entered; // called with the id of a person who is to read
  #project = null;

  constructor(server, entered) {
    this.#server = server;
    this.#entered = entered;
    this.#onSubmit("person-form", () => this.#addPerson());
    this.#onSubmit("prompts-form", () => this.#addPrompts());
    byId("save").addEventListener("click", () => this.save());
  }

  show(project) {
    const isNew = project.name !== this.#project?.name;
    this.#project = project;
    byId("project-title").textContent = project.title;
    byId("project-facts").textContent =
      `${project.num_prompts} texts for each person; ${project.num_takes} takes so far, ${minutes(project.seconds)}`;
    byId("people").replaceChildren(...project.people.map((person) => this.#card(person)));
    byId("consent-box").hidden = !project.consent;
    byId("consent-text").textContent = project.consent;
    byId("agreed").required = Boolean(project.consent);
    byId("save").disabled = project.num_takes === 0;
    byId("check-link").href = `#/${project.name}/:check`;
    if (!isNew) return;
    byId("saved").replaceChildren();
    byId("person-form").reset();
  }

  #card({ id, pseudonym, takes, seconds }) {
    const left = this.#project.num_prompts - takes;
    const facts = left > 0 ? `${takes} takes, ${left} to go` : `all ${takes}, ${minutes(seconds)}`;
    return element(
      "li",
      {},
      element(
        "a",
        { href: `#/${this.#project.name}/${id}` },
        element("strong", {}, pseudonym),
        element("span", { className: "quiet" }, facts),
      ),
      element(
        "button",
        { type: "button", className: "plain", "aria-label": `Delete ${pseudonym}`, onclick: () => this.#remove(id, pseudonym) },
        "Delete",
      ),
    );
  }

  async #remove(id, pseudonym) {
    const all = `Delete ${pseudonym} and all that ${pseudonym} has recorded, in the corpus too? A model that was trained on it stays.`;
    if (!confirm(all)) return;
    try {
      await this.#server.send("DELETE", `${this.#path}/people/${id}`);
      this.show(await this.#server.get(this.#path));
      byId("project-title").focus();
      notice("project", `${pseudonym} and the recordings are deleted.`, { kind: "info", dismiss: true });
    } catch (trouble) {
      notice("project", trouble.message);
    }
  }

  #onSubmit(id, run) {
    byId(id).addEventListener("submit", (event) => {
      event.preventDefault();
      clearNotice("project");
      run().catch((trouble) => notice("project", trouble.message));
    });
  }

  get #path() {
    return `v1/studio/projects/${this.#project.name}`;
  }

  async #addPerson() {
    const wanted = { pseudonym: byId("pseudonym").value, agreed: byId("agreed").checked };
    const { id } = await this.#server.send("POST", `${this.#path}/people`, wanted);
    byId("person-form").reset();
    this.#entered(this.#project.name, id);
  }

  async #addPrompts() {
    const found = await this.#server.send("POST", `${this.#path}/prompts`, { texts: byId("more-texts").value });
    byId("prompts-form").reset();
    this.show(await this.#server.get(this.#path));
    if (found.num_left_out) leftOut(found);
    else notice("texts", `${found.added} texts were added.`, { kind: "info", dismiss: true });
  }

  /** Writes the corpus; whether it could. */
  async save() {
    byId("save").disabled = true;
    byId("saved").replaceChildren(element("p", { className: "quiet" }, "Writing clips and CSVs"));
    try {
      const { sets, folder, left_out } = await this.#server.send("POST", `${this.#path}/corpus`, {});
      const lines = Object.entries(sets).map(
        ([name, { clips, seconds, speakers }]) => `${name}: ${clips} clips, ${minutes(seconds)}, ${people(speakers)}`,
      );
      if (left_out) lines.push(`${left_out} takes are left out: nothing can be learned of them`);
      byId("saved").replaceChildren(
        element("p", {}, `Saved in ${folder}`),
        element("ul", { className: "lines" }, ...lines.map((line) => element("li", {}, line))),
      );
      clearNotice("project");
      return true;
    } catch (trouble) {
      byId("saved").replaceChildren();
      notice("project", trouble.message);
      return false;
    } finally {
      byId("save").disabled = false;
    }
  }
}
