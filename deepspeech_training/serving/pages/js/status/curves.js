// The history of a run as curves, and as a table for whoever cannot see them.

import { byId, element } from "../dom.js";
import { duration, known, percent } from "./amounts.js";
import { Chart } from "./chart.js";
import { over, speedOf } from "./history.js";
import { short } from "./ticks.js";

const SPEECH = [
  { name: "wer", label: "WER" },
  { name: "cer", label: "CER" },
];

export class Curves {
  #loss = new Chart(byId("chart-loss"), "Loss", { log: true });
  #rates = new Chart(byId("chart-rates"), "Figures of the dev sets", { format: (value) => value.toFixed(3) });
  #learningRate = new Chart(byId("chart-learning-rate"), "Learning rate", { log: true });
  #speed = new Chart(byId("chart-speed"), "Speed", { format: (value) => `${short(value)}` });
  #drawn = "";

  /** Draws again where there is a new epoch. */
  show(epochs, run) {
    const figures = run?.started?.judged_by ?? SPEECH;
    const best = run?.best?.epoch ?? null;
    const state = `${run?.folder} ${run?.started?.time} ${epochs.length} ${epochs.at(-1)?.time} ${best}`;
    if (state === this.#drawn) return;
    this.#drawn = state;
    byId("curves").hidden = !epochs.length;
    if (!epochs.length) return;
    const points = (value) => epochs.map((epoch) => [epoch.epoch + 1, value(epoch)]);
    const dev = { label: "dev", points: points((epoch) => over(epoch, "loss")) };
    const metrics = { label: "metrics", points: points((epoch) => over(epoch, "loss", "metrics")) };
    const train = { label: "train", points: points((epoch) => epoch.train_loss) };
    this.#loss.show([train, ...[dev, metrics].filter(hasValues)], best);
    this.#rates.show(
      figures
        .map(({ name, label }) => ({ label, points: points((epoch) => over(epoch, name)) }))
        .filter(hasValues),
      best,
    );
    this.#learningRate.show([{ label: "rate", points: points((epoch) => epoch.learning_rate) }], best);
    const unit = speedOf(epochs.at(-1)).unit || "speed";
    this.#speed.show([{ label: unit, points: points((epoch) => speedOf(epoch).value) }]);
    showTable(epochs, figures, best);
  }
}

const hasValues = ({ points }) => points.some(([, value]) => known(value));

function showTable(epochs, figures, best) {
  const labels = ["Epoch", "Train loss", "Dev loss", ...figures.map(({ label }) => label), "Learning rate"];
  const head = [...labels, "Time", "Speed", "Waited for data"].map((text) => element("th", { scope: "col" }, text));
  byId("epoch-head").replaceChildren(element("tr", {}, ...head));
  byId("epoch-rows").replaceChildren(
    ...epochs.map((epoch) => {
      const { value, unit } = speedOf(epoch);
      const number = epoch.epoch + 1;
      const cells = [
        fixed(epoch.train_loss, 4),
        fixed(over(epoch, "loss"), 4),
        ...figures.map(({ name }) => fixed(over(epoch, name), 3)),
        short(epoch.learning_rate),
        duration(epoch.seconds),
        known(value) ? `${short(value)} ${unit}` : "-",
        percent(epoch.waited_share),
      ];
      const heading = element("th", { scope: "row" }, number === best ? `${number}, best` : String(number));
      return element("tr", {}, heading, ...cells.map((cell) => element("td", {}, cell)));
    }),
  );
}

const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "-");
