// The trainings of the volume with their settings, and some of them with their curves over each other.

import { byId, element } from "../dom.js";
import { notice } from "../notices.js";
import { count, date, duration, known } from "./amounts.js";
import { Chart } from "./chart.js";

const MOST = 4; // as many as curves can be told apart

export class Sessions {
  #server;
  #runs = [];
  #chosen = new Set(); // keys, in the order in which they were chosen
  #shown = "";

  constructor(server) {
    this.#server = server;
  }

  /** Asks for the list, and for what is compared. */
  async look() {
    const { runs, judged_by: figures } = await this.#server.get("v1/status/sessions");
    this.#runs = [...runs].reverse(); // the newest first
    for (const key of this.#chosen) if (!runs.some((run) => run.key === key)) this.#chosen.delete(key);
    byId("sessions").hidden = !runs.length;
    this.#showList(figures);
    await this.#compare();
  }

  #showList(figures) {
    const state = JSON.stringify(this.#runs);
    if (state === this.#shown) return;
    this.#shown = state;
    const flags = Object.keys(this.#runs[0]?.flags ?? {});
    const labels = ["Training", "Status", "Epochs", "Dev loss", ...figures.map(({ label }) => label), "Time", "Clips"];
    const head = ["", ...labels, ...flags.map((name) => `--${name}`)];
    byId("session-head").replaceChildren(row("th", head));
    const focused = document.activeElement?.dataset?.key;
    byId("session-rows").replaceChildren(...this.#runs.map((run) => this.#row(run, figures, flags)));
    if (focused) byId("session-rows").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(run, figures, flags) {
    const box = element("input", { type: "checkbox", "aria-label": `Compare ${run.key}` });
    box.dataset.key = run.key;
    box.checked = this.#chosen.has(run.key);
    box.addEventListener("change", () => this.#choose(box));
    const { best } = run;
    const name = element("th", { scope: "row", title: run.key }, run.name, element("br"), quiet(date(run.started)));
    const cells = [
      run.status + (run.sessions > 1 ? `, ${run.sessions} sessions` : ""),
      count(run.epochs),
      fixed(best?.dev_loss),
      ...figures.map((figure) => fixed(best?.[figure.name])),
      duration(run.training_s),
      count(run.clips),
      ...flags.map((flag) => run.flags[flag]),
    ];
    return element("tr", {}, element("td", {}, box), name, ...cells.map(cellOf));
  }

  async #choose(box) {
    if (!box.checked) this.#chosen.delete(box.dataset.key);
    else if (this.#chosen.size < MOST) this.#chosen.add(box.dataset.key);
    else box.checked = false;
    try {
      await this.#compare();
    } catch (trouble) {
      notice("sessions", trouble.message);
    }
  }

  async #compare() {
    byId("compared").hidden = this.#chosen.size < 2;
    if (this.#chosen.size < 2) return byId("compared-charts").replaceChildren();
    const query = new URLSearchParams([...this.#chosen].map((key) => ["run", key]));
    const found = await this.#server.get(`v1/status/sessions/compared?${query}`);
    showCurves(found, this.#names());
    byId("differs-head").replaceChildren(row("th", ["Setting", ...this.#names()]));
    byId("differs-rows").replaceChildren(
      ...found.differs.map(({ flag, values }) => {
        return element("tr", {}, element("th", { scope: "row" }, `--${flag}`), ...values.map(cellOf));
      }),
    );
  }

  /** Of the chosen ones: those of their folders, with the time where two are of one folder. */
  #names() {
    const runs = [...this.#chosen].map((key) => this.#runs.find((run) => run.key === key));
    const twice = (name) => runs.filter((run) => run.name === name).length > 1;
    return runs.map(({ name, started }) => (twice(name) ? `${name}, ${date(started)}` : name));
  }
}

function showCurves({ runs, judged_by: figures }, names) {
  const subjects = [["dev_loss", "Dev loss"], ["train_loss", "Train loss"], ...figures.map((f) => [f.name, f.label])];
  const host = byId("compared-charts");
  while (host.children.length > subjects.length) host.lastChild.remove();
  subjects.forEach(([field, title], place) => {
    let figure = host.children[place];
    if (figure?.dataset.title !== title) {
      const made = element("figure");
      made.dataset.title = title;
      if (figure) figure.replaceWith(made);
      else host.append(made);
      figure = made;
      figure.chart = new Chart(figure, title, { log: field.endsWith("loss") });
    }
    const curves = runs.map(({ epochs }, i) => ({
      label: names[i],
      points: epochs.map((epoch) => [epoch.number, epoch[field]]),
    }));
    figure.chart.show(curves);
  });
}

const row = (tag, texts) =>
  element("tr", {}, ...texts.map((text) => element(tag, tag === "th" ? { scope: "col" } : {}, text)));
const cellOf = (text) => element("td", { title: text }, text);
const quiet = (text) => element("span", { className: "quiet" }, text);
const fixed = (value) => (known(value) ? value.toFixed(3) : "-");
