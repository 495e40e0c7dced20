// One reading of a sound as text on the page, with what differs from another one marked.

import { differences } from "./diff.js";
import { element } from "./dom.js";

export function marked(reference, text) {
  const words = differences(reference, text);
  return words.flatMap(({ word, same }, i) => [i ? " " : "", same ? word : element("mark", {}, word)]);
}
