// What is served, what is trained on, and with which settings.

import { byId, element } from "../dom.js";
import { count, date, duration, known } from "./amounts.js";

/** `drift` says of each model how what it hears lately differs from its test set. */
export function showModels(models, soFar, drift) {
  const parts = models.map(({ name, note, sha256 }) =>
    element(
      "div",
      { className: "model" },
      element("p", {}, element("strong", {}, name)),
      note ? element("p", { className: "quiet" }, note) : null,
      driftLine(drift?.[name]),
      element("p", { className: "quiet", title: sha256 }, `SHA-256 ${sha256.slice(0, 16)}`),
    ),
  );
  const none = element("p", { className: "quiet" }, soFar || "None is served yet.");
  byId("models").replaceChildren(...(parts.length ? parts : [none]));
}

function driftLine(found) {
  if (!found?.sentence) return null;
  return element("p", { className: found.band === "large" ? "drifts" : "quiet" }, found.sentence[0].toUpperCase() + found.sentence.slice(1));
}

export function showData(sets) {
  byId("data-panel").hidden = !sets;
  if (sets) byId("data").replaceChildren(...sets.map(setPart));
}

function setPart({ set, csv, clips, hours, characters, speakers }) {
  const facts = [
    ["Clips", count(clips)],
    ["Length", known(hours) ? hoursText(hours) : null],
    ["Speakers", known(speakers) ? count(speakers) : "not named"],
    ["Characters", count(characters)],
  ];
  return element(
    "section",
    { className: "model" },
    element("h3", { title: csv }, `${set}: ${fileOf(csv)}`),
    list(facts),
  );
}

/** `rejected` are the rows that were left out: {count, reasons, rows}. */
export function showRejected({ count: number, reasons, rows }) {
  if (!number) return byId("rejected").replaceChildren();
  const title = `${count(number)} ${number === 1 ? "row" : "rows"} left out`;
  const causes = Object.entries(reasons).map(([code, times]) => [code.replaceAll("_", " "), count(times)]);
  const lines = rows.map(({ csv, row, reason }) => element("li", { title: csv }, `${fileOf(csv)}, row ${row}: ${reason}`));
  const more = number > rows.length ? [element("li", {}, "and more: rejected.csv has all of them")] : [];
  byId("rejected").replaceChildren(
    element("h3", {}, title),
    list(causes),
    element(
      "details",
      {},
      element("summary", {}, "Rows and reasons"),
      element("ul", { className: "lines" }, ...lines, ...more),
    ),
  );
}

const fileOf = (path) => path.split("/").slice(-2).join("/");

const hoursText = (hours) => (hours < 1 ? duration(3600 * hours) : `${hours.toFixed(1)} hours`);

export function showRun(run) {
  byId("run-panel").hidden = !run;
  if (!run) return;
  const started = run.started ?? {};
  const rows = [
    ["Name", run.name],
    ["Begun", started.time ? date(started.time) : null],
    ["Settings", run.preset || null],
    ["Weights", started.parameters ? count(started.parameters) : null],
    ["Precision", started.precision],
    ["Plan", started.plan],
    ["Folder", run.folder],
    ["Fingerprint", run.fingerprint],
  ];
  byId("run").replaceChildren(...terms(rows));
  byId("found").replaceChildren(...run.says.map((text) => element("li", {}, text)));
  byId("flags").replaceChildren(...run.flags.map((flag) => element("li", {}, flag)));
}

const list = (rows) => element("dl", {}, ...terms(rows));

const terms = (rows) =>
  rows
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
