// Greedy, beam and scorer side by side.

import { byId, element } from "./dom.js";
import { marked } from "./reading.js";

const GREEDY = ["Greedy", "the likeliest letter of each moment"];
const BEAM = ["Beam", "many readings at a time, no scorer"];
const SCORED = ["Beam and scorer", "and how likely the words are together"];

/** `answer` of /v1/compare: {text, without_scorer, greedy}, null where that is decoded as `text` is. */
export function showComparison(answer) {
  const columns = columnsOf(answer);
  const reference = columns[0][1];
  byId("compared").replaceChildren(
    ...columns.map(([[title, hint], text]) =>
      element(
        "article",
        {},
        element("h3", {}, title),
        element("p", { className: "hint" }, hint),
        element(
          "p",
          { className: "said", dir: "auto" },
          ...(text ? marked(reference, text) : [element("em", {}, "nothing")]),
        ),
      ),
    ),
  );
  byId("compared").hidden = false;
}

export function hideComparison() {
  byId("compared").hidden = true;
  byId("compared").replaceChildren();
}

function columnsOf({ text, without_scorer, greedy }) {
  if (without_scorer !== null)
    return [
      [GREEDY, greedy],
      [BEAM, without_scorer],
      [SCORED, text],
    ];
  return greedy === null
    ? [[GREEDY, text]]
    : [
        [GREEDY, greedy],
        [BEAM, text],
      ];
}
