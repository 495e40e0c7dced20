// A word on the page: how sure it is, when it was said, and how that is told to eyes and ears.

import { element } from "./dom.js";
import { clock, percent } from "./times.js";

const SURE = 0.85;
const FAIR = 0.6;

/** "sure", "fair" or "poor"; "" where the server told no confidence. */
export function certainty(confidence) {
  if (confidence === undefined || confidence === null) return "";
  return confidence >= SURE ? "sure" : confidence >= FAIR ? "fair" : "poor";
}

export function describe({ text, start, end, confidence }) {
  const sure = confidence === undefined || confidence === null ? "" : `, ${percent(confidence)} sure`;
  return `${text}, ${clock(start, 2)} to ${clock(end, 2)}${sure}`;
}

/** A word one can press; eyes see the underline, screen readers hear the number where it matters. */
export function wordElement(word, index) {
  const kind = certainty(word.confidence);
  const made = element(
    "span",
    { className: `word ${kind}`, role: "button", tabIndex: -1, title: describe(word) },
    word.text,
  );
  made.dataset.index = index;
  if (kind === "fair" || kind === "poor") {
    made.append(element("span", { className: "visually-hidden" }, ` (${percent(word.confidence)} sure)`));
  }
  return made;
}

export function wordRow(word) {
  const sure = word.confidence === undefined || word.confidence === null ? "" : percent(word.confidence);
  return element(
    "tr",
    {},
    element("td", {}, word.text),
    element("td", {}, clock(word.start, 2)),
    element("td", {}, clock(word.end, 2)),
    element("td", {}, sure),
  );
}
