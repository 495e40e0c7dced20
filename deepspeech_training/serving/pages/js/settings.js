// The settings of a recognition: the form <-> what the server takes. Kept for this tab only.

import { byId, element } from "./dom.js";

const STORED = "deepspeech-settings";
const BOOST = 5; // of a new hot word

/** Event `change`. */
export class Settings extends EventTarget {
  #form = byId("settings");
  #hot = byId("hot-list");
  #models = [];
  #mostBeam = 5000;

  constructor() {
    super();
    byId("add-hot").addEventListener("click", () => this.#addHot("", BOOST).querySelector("input").focus());
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", () => this.#changed());
    this.#form.addEventListener("invalid", (event) => event.preventDefault(), true);
    this.#restore();
    this.#follow();
  }

  /** Models as /v1/config tells them: [{id, facts}], the default first. */
  setModels(models, { max_beam_width } = {}) {
    this.#models = models;
    this.#mostBeam = max_beam_width ?? this.#mostBeam;
    this.#field("beam_width").max = this.#mostBeam;
    const select = this.#field("model");
    const chosen = select.value;
    select.replaceChildren(...models.map(({ id }) => element("option", { value: id }, id)));
    if (models.some(({ id }) => id === chosen)) select.value = chosen;
    byId("model-row").hidden = models.length < 2;
    this.#follow();
  }

  get model() {
    return this.#models.find(({ id }) => id === this.#field("model").value) ?? this.#models[0] ?? null;
  }

  /** Whether the model hears commands instead of writing what is said. */
  get hearsCommands() {
    return this.model?.facts.task === "spoken_command";
  }

  /** What decoding needs, as both /v1/stream and the upload take it. */
  get decoding() {
    const number = (name) => this.#number(name);
    const scorer = this.#field("scorer").checked && !this.#field("scorer").disabled;
    const hot = this.hotWords;
    return withoutUndefined({
      model: this.model?.id,
      beam_width: number("beam_width"),
      scorer: this.#field("scorer").disabled ? undefined : Number(scorer),
      alpha: scorer ? number("alpha") : undefined,
      beta: scorer ? number("beta") : undefined,
      alternatives: number("alternatives") ?? 1,
      hot_words: scorer && Object.keys(hot).length ? hot : undefined,
    });
  }

  /** What listening for commands needs, as both /v1/detect and the upload take it. */
  get listening() {
    return withoutUndefined({ model: this.model?.id, threshold: this.#number("threshold") });
  }

  /** What decoding needs, and what a stream has besides. */
  get streaming() {
    const ends = this.#field("endpointing").checked;
    return withoutUndefined({
      ...this.decoding,
      words: 1,
      endpointing: Number(ends),
      hangover_s: ends ? Number(this.#field("hangover_s").value) : undefined,
    });
  }

  get hotWords() {
    const pairs = [...this.#hot.children].map((row) => {
      const [word, boost] = row.querySelectorAll("input");
      return [word.value.trim(), Number(boost.value)];
    });
    return Object.fromEntries(pairs.filter(([word]) => word));
  }

  /** A sentence about the first field that holds no usable value, or null. */
  get fault() {
    const field = [...this.#form.elements].find((candidate) => candidate.willValidate && !candidate.validity.valid);
    return field ? `${field.labels[0].firstChild.textContent.trim()}: ${field.validationMessage}` : null;
  }

  #number(name) {
    return this.#field(name).value === "" ? undefined : Number(this.#field(name).value);
  }

  #field(name) {
    return this.#form.elements[name];
  }

  #addHot(word, boost) {
    const value = element("span", { className: "value" }, signed(boost));
    const row = element(
      "li",
      {},
      element("input", {
        type: "text",
        value: word,
        placeholder: "word",
        maxLength: 100,
        spellcheck: false,
        "aria-label": "Hot word",
      }),
      element("input", { type: "range", min: -20, max: 20, step: 0.5, value: boost, "aria-label": "Boost" }),
      value,
      element("button", { type: "button", className: "plain remove", "aria-label": "Remove this hot word" }, "×"),
    );
    row.querySelector('[type="range"]').addEventListener("input", ({ target }) => {
      value.textContent = signed(Number(target.value));
    });
    row.querySelector("button").addEventListener("click", () => {
      row.remove();
      byId("add-hot").focus();
      this.#changed();
    });
    this.#hot.append(row);
    return row;
  }

  #changed() {
    this.#follow();
    const values = {};
    for (const { name, type, checked, value } of this.#form.elements) {
      if (name && name !== "model") values[name] = type === "checkbox" ? checked : value;
    }
    sessionStorage.setItem(STORED, JSON.stringify({ values, hot: this.hotWords }));
    this.dispatchEvent(new Event("change"));
  }

  #restore() {
    const { values = {}, hot = {} } = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
    for (const [name, value] of Object.entries(values)) {
      const field = this.#field(name);
      if (field?.type === "checkbox") field.checked = value;
      else if (field) field.value = value;
    }
    for (const [word, boost] of Object.entries(hot)) this.#addHot(word, boost);
  }

  /** What depends on other fields: what can't be used with this model, and what it uses where a field is empty. */
  #follow() {
    const facts = this.model?.facts ?? {};
    const hasScorer = Boolean(facts.scorer);
    byId("of-commands").hidden = !this.hearsCommands;
    byId("of-texts").hidden = this.hearsCommands;
    this.#field("threshold").placeholder = facts.threshold?.toPrecision(4) ?? "";
    this.#field("scorer").disabled = !hasScorer;
    const scored = hasScorer && this.#field("scorer").checked;
    byId("scorer-weights").hidden = !scored;
    byId("scorer-hint").hidden = hasScorer || !this.model;
    byId("hot-words").disabled = !scored;
    byId("hot-hint").textContent =
      scored || !this.model
        ? "Names and terms that are said more (or, below 0, less) often than the scorer expects."
        : "Hot words work through the scorer, which is not in use.";
    this.#field("beam_width").placeholder = facts.beam_width ?? "";
    for (const weight of ["alpha", "beta"]) this.#field(weight).placeholder = facts[weight]?.toFixed(2) ?? "";
    byId("pause").textContent = `${Number(this.#field("hangover_s").value).toFixed(1)} s`;
    byId("pause-row").hidden = !this.#field("endpointing").checked;
  }
}

const signed = (number) => (number > 0 ? `+${number}` : String(number).replace("-", "−"));

const withoutUndefined = (values) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
