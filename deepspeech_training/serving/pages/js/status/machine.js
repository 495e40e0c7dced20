// How busy and how full the machine is, and each of its GPUs.

import { byId, element } from "../dom.js";
import { bytes, known, percent } from "./amounts.js";

const HIGH = 0.92; // share of an amount that can run out

/** `machine` of the app's own readings; `logged` is the last reading that the training wrote down. */
export function showMachine(machine, logged, device) {
  const rows = [
    level(`Processors: ${machine.cores} ${machine.cores === 1 ? "core" : "cores"} to use`, machine.busy, {
      text: `${percent(machine.busy)} of the machine busy`,
    }),
    ...memory(machine),
    known(machine.disk_free) && line("Disk", `${bytes(machine.disk_free)} free`),
    line("Training on", device),
  ];
  const gpus = machine.gpus.length ? machine.gpus : (logged?.gpus ?? []);
  byId("machine").replaceChildren(...rows.filter(Boolean), ...gpus.map(gpuPart));
}

function memory({ memory_total: total, memory_limit: limit, memory_available: available }) {
  const whole = Math.min(limit ?? Infinity, total ?? Infinity);
  if (!Number.isFinite(whole) || !known(available)) return [];
  const used = Math.max(0, whole - available);
  const of = limit !== null && limit <= whole ? `${bytes(limit)}, the container's limit` : bytes(whole);
  return [level("Memory", used / whole, { text: `${bytes(used)} of ${of}`, canRunOut: true })];
}

function gpuPart(gpu) {
  const facts = [
    known(gpu.temperature_c) && `${Math.round(gpu.temperature_c)} °C`,
    known(gpu.power_w) &&
      `${Math.round(gpu.power_w)} W${known(gpu.power_limit_w) ? ` of ${Math.round(gpu.power_limit_w)} W` : ""}`,
  ].filter(Boolean);
  const used = known(gpu.memory_used) && gpu.memory_total ? gpu.memory_used / gpu.memory_total : null;
  return element(
    "section",
    { className: "gpu" },
    element("h3", {}, `GPU ${gpu.index}: ${gpu.name}`),
    level("Use", gpu.busy, { text: known(gpu.busy) ? percent(gpu.busy) : "the driver does not tell" }),
    level("Memory", used, { text: `${bytes(gpu.memory_used)} of ${bytes(gpu.memory_total)}` }),
    line("Temperature, power", facts.join(", ") || "the driver does not tell"),
  );
}

function line(name, text) {
  const value = element("span", { className: "value" }, text);
  return element("div", { className: "meter-row" }, element("div", { className: "bar" }, name, value));
}

function level(name, share, { text, canRunOut = false }) {
  const row = line(name, text);
  if (!known(share)) return row;
  const filled = element("span");
  filled.style.transform = `scaleX(${Math.min(1, share)})`;
  row.append(
    element(
      "div",
      {
        className: canRunOut && share > HIGH ? "level high" : "level",
        role: "meter",
        "aria-label": name,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": Math.round(100 * share),
        "aria-valuetext": text,
      },
      filled,
    ),
  );
  return row;
}
