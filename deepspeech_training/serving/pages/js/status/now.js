// The phase, how far it is, and what speaks of it in one line.

import { byId, element } from "../dom.js";
import { clearNotice, notice } from "../notices.js";
import { count, duration, known, percent } from "./amounts.js";
import { speedOf } from "./history.js";

const PHASES = {
  waiting: "Waiting",
  checking: "Checking",
  training: "Training",
  testing: "Testing",
  exporting: "Exporting",
  registering: "Registering",
  serving: "Serving",
  failed: "Failed",
};

/** `status` is the answer of /v1/status, `epochs` the history of its run. */
export function showNow(status, epochs) {
  const { phase, failure, run } = status;
  byId("phase").textContent = PHASES[phase] ?? phase;
  byId("phase").className = `phase ${phase}`;
  byId("phase-time").textContent = `for ${duration(status.phase_s)}`;
  byId("sentence").textContent = failure ? "" : sentenceOf(status);
  document.title = titleOf(status);
  showBar(status);
  showRunState(status);
  showFigures(run?.state === "running" ? trainingFigures(status, epochs) : finishedFigures(run, epochs));
  if (failure) {
    const again = failure.again_in_s > 0 ? `in ${duration(failure.again_in_s)}` : "in a moment";
    notice("failure", `${failure.message}\nIt is tried again when files change, and ${again}.`, { dismiss: false });
  } else clearNotice("failure");
  const announcer = byId("phase-announcer");
  const said = `${PHASES[phase] ?? phase}: ${failure?.message ?? status.message}`;
  if (announcer.textContent !== said) announcer.textContent = said;
}

function sentenceOf({ message, run, served_so_far: soFar }) {
  const validation = run?.validation;
  const lower = (text) => text[0].toLowerCase() + text.slice(1);
  const parts = [message[0]?.toUpperCase() + message.slice(1)];
  if (validation) parts.push(`${lower(validation.what)}: batch ${validation.done} of ${validation.batches}`);
  if (soFar) parts.push(`served meanwhile: ${soFar}`);
  return parts.join("; ");
}

function titleOf({ phase, share_done: share }) {
  return phase === "training" && known(share) ? `${percent(share)} trained` : `${PHASES[phase] ?? phase}: training status`;
}

function showBar({ phase, run }) {
  const share = run?.share_done;
  const shown = known(share) && phase !== "waiting";
  byId("bar").hidden = !shown;
  if (!shown) return;
  byId("bar").setAttribute("aria-valuenow", Math.round(100 * share));
  byId("bar-done").style.transform = `scaleX(${share})`;
}

/** How a run ended; nothing of one that has not begun, and what the notice of a failure says is not said twice. */
function showRunState({ run, failure }) {
  const host = byId("run-state");
  host.hidden = !run?.started || run.state === "running" || failure?.message === run.message;
  if (!host.hidden) host.textContent = [`${nameOf(run)}: ${run.state}`, run.message].filter(Boolean).join(", ");
}

const nameOf = ({ folder }) => folder.split("/").at(-1);

function trainingFigures({ run }, epochs) {
  if (!run) return [];
  const last = epochs.at(-1);
  const { value, unit } = speedOf(run.step ?? last);
  return [
    known(run.epoch) && [`${count(run.epoch)} of ${count(run.epochs)}`, "epoch"],
    known(run.share_done) && [percent(run.share_done), "done"],
    known(run.left_s) && [duration(run.left_s), "left"],
    ...bestFigure(run),
    known(value) && [`${count(Math.round(value))} ${unit}`, "speed"],
    last && [percent(last.waited_share), "waited for data"],
  ];
}

function finishedFigures(run, epochs) {
  if (!run || !epochs.length) return [];
  const seconds = epochs.reduce((sum, epoch) => sum + (epoch.seconds ?? 0), 0);
  return [[count(epochs.length), "epochs trained"], [duration(seconds), "of training"], ...bestFigure(run)];
}

function bestFigure({ best, started }) {
  if (!best) return [];
  const figures = started?.judged_by ?? [];
  const named = figures.filter(({ name }) => known(best[name]));
  const text = named.map(({ label, name }) => `${label} ${best[name].toFixed(3)}`).join(", ");
  return [[text || `loss ${best.loss?.toFixed(3)}`, `best, in epoch ${best.epoch}`]];
}

function showFigures(figures) {
  byId("figures").replaceChildren(
    ...figures
      .filter(Boolean)
      .map(([value, name]) => element("li", {}, element("strong", {}, value), element("span", {}, name))),
  );
}

/** The diagnosis at the end of a run, in its words. */
export function showDiagnosis(outcome) {
  byId("diagnosis").hidden = !outcome;
  if (!outcome) return;
  // Not what to do next: the app does it.
  byId("diagnosis-lines").replaceChildren(...outcome.diagnosis.map((line) => element("p", {}, line.replace(/^Diagnosis: /, ""))));
}
