// What the model is: the facts of its file and of its card.

import { byId, element } from "./dom.js";
import { percent } from "./times.js";

/** One line for the top of the page. */
export function summary({ id, facts }) {
  const parts = [
    id,
    language(facts.language),
    khz(facts.sample_rate),
    number(facts.wer) ? `WER ${rate(facts.wer)}` : null,
    number(facts.accuracy) ? `accuracy ${rate(facts.accuracy)}` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}

export function showFacts({ id, facts }) {
  const rows = [
    ["Name", id],
    ["Version", facts.version],
    ["Language", language(facts.language)],
    ...(facts.task === "spoken_command" ? ofCommands(facts) : ofTexts(facts)),
    ["Sample rate", khz(facts.sample_rate)],
    ["Weights", facts.weights],
    ["Made", date(facts.created)],
    ["File", facts.file && facts.bytes ? `${facts.file}, ${(facts.bytes / 1e6).toFixed(1)} MB` : facts.file],
    ["SHA-256", facts.sha256?.slice(0, 16)],
    ["Author", facts.author],
    ["License", facts.license],
  ];
  byId("facts").replaceChildren(
    ...rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .flatMap(([name, value]) => [
        element("dt", {}, name),
        element("dd", name === "SHA-256" ? { title: facts.sha256 } : {}, String(value)),
      ]),
  );
  showVerdict(facts.verdict);
}

const ofTexts = (facts) => [
  ["Word error rate", number(facts.wer) ? rate(facts.wer) : "not measured"],
  ["Character error rate", number(facts.cer) ? rate(facts.cer) : null],
  ["Measured on", facts.measured_on],
  ["Alphabet", alphabet(facts)],
  ["Scorer", facts.scorer ?? "none"],
  ["Beam width", facts.beam_width],
];

const ofCommands = (facts) => [
  ["Accuracy", number(facts.accuracy) ? rate(facts.accuracy) : "not measured"],
  ["Measured on", facts.measured_on],
  ["Commands", facts.commands.join(", ")],
  ["Threshold", number(facts.threshold) ? facts.threshold.toPrecision(4) : null],
  ["Hold-off", `${facts.hold_off_s} s`],
  ["Length of a clip", `${facts.clip_seconds} s`],
];

/** A verdict of `deepspeech inspect`, such as "HEALTHY: nothing found that speaks against it". */
function showVerdict(verdict) {
  const [, word, reason] = /^([A-Z]+): (.*)$/s.exec(verdict ?? "") ?? [];
  byId("verdict").hidden = !word;
  if (!word) return;
  byId("verdict").className = ["HEALTHY", "UNKNOWN"].includes(word) ? "verdict" : "verdict bad";
  byId("verdict").replaceChildren(element("strong", {}, word[0] + word.slice(1).toLowerCase()), `: ${reason}`);
}

const number = (value) => typeof value === "number" && Number.isFinite(value);
const rate = (value) => (value < 0.1 ? `${(100 * value).toFixed(1)} %` : percent(value));
const khz = (hertz) => (hertz ? `${hertz / 1000} kHz` : null);

function alphabet({ alphabet: letters, bytes_output_mode }) {
  if (bytes_output_mode) return "bytes of UTF-8";
  if (!letters?.length) return null;
  const shown = letters.map((letter) => (letter === " " ? "␣" : letter));
  const most = 64;
  return `${shown.slice(0, most).join(" ")}${shown.length > most ? " …" : ""} (${letters.length})`;
}

function language(code) {
  if (!code) return null;
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code; // no code that is known
  }
}

function date(created) {
  if (!created) return null;
  const when = new Date(typeof created === "number" ? 1000 * created : created);
  return Number.isNaN(when.getTime())
    ? String(created)
    : when.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}
