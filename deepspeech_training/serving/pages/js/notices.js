// Sentences about what is wrong or happening; each subject has one place, so that a newer sentence replaces the older.

import { byId, element } from "./dom.js";

/** `kind`: "bad" is read out at once, "info" when there is time. `action`: {label, run}. */
export function notice(subject, text, { kind = "bad", action, dismiss = kind === "bad" } = {}) {
  const shown = find(subject);
  if (shown?.dataset.text === text) return;
  clearNotice(subject);
  const made = element(
    "div",
    { className: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
    element("p", {}, text),
  );
  made.dataset.subject = subject;
  made.dataset.text = text;
  if (action) made.append(button(action.label, "", action.run));
  if (dismiss) made.append(button("×", "Dismiss", () => made.remove()));
  byId("notices").append(made);
}

export function clearNotice(...subjects) {
  for (const subject of subjects) find(subject)?.remove();
}

const find = (subject) => [...byId("notices").children].find((shown) => shown.dataset.subject === subject);

function button(label, name, run) {
  const made = element("button", { type: "button", className: "plain", onclick: run }, label);
  if (name) made.setAttribute("aria-label", name);
  return made;
}
