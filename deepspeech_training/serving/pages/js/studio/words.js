// Short texts of the studio.

import { notice } from "../notices.js";

const SHOWN = 3;

export function minutes(seconds) {
  return seconds < 60 ? `${Math.round(seconds)} s` : `${(seconds / 60).toFixed(1)} min`;
}

export const people = (count) => `${count} ${count === 1 ? "person" : "people"}`;

/** Which texts nobody is asked to read, and why. */
export function leftOut({ num_left_out: count, left_out: found }) {
  if (!count) return;
  const lines = found.slice(0, SHOWN).map(({ line, text, reason }) => `line ${line}, “${text.slice(0, 60)}”: ${reason}`);
  const more = count > lines.length ? `; and ${count - lines.length} more` : "";
  notice("texts", `${count} ${count === 1 ? "text is" : "texts are"} left out. ${lines.join("; ")}${more}.`);
}
