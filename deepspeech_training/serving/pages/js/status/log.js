// The last lines of the log.

import { byId, element } from "../dom.js";
import { clock } from "./amounts.js";

let shown = "";

/** Lines are {time, level, text}; whoever reads the end keeps reading it. */
export function showLog(lines) {
  const state = `${lines.length} ${lines.at(-1)?.time} ${lines.at(-1)?.text}`;
  if (state === shown) return;
  shown = state;
  const box = byId("log");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  box.replaceChildren(...(lines.length ? lines.map(line) : [element("p", { className: "info" }, "Nothing yet.")]));
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function line({ time, level, text }) {
  return element(
    "p",
    { className: level },
    element("time", { dateTime: new Date(1000 * time).toISOString() }, clock(time)),
    element("span", { className: "kind" }, level),
    element("span", { className: "text" }, text),
  );
}

byId("warnings-only").addEventListener("change", ({ target }) => {
  byId("log").classList.toggle("only-warnings", target.checked);
});
