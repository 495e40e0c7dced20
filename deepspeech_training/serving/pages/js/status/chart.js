// Curves by epoch, drawn as SVG: axes with numbers, and a value read with the pointer or the arrow keys.

import { element } from "../dom.js";
import { logTicks, short, ticks } from "./ticks.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const MARGIN = { left: 52, right: 12, top: 10, bottom: 26 };
const WIDE_RANGE = 30; // largest by smallest value, from which on a logarithmic axis shows more

function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A figure in `host`. Its curves are {label, points: [[epoch, value], ...]}; a value may be null. */
export class Chart {
  #host;
  #svg = shape("svg", { class: "chart", tabindex: 0, role: "slider", "aria-orientation": "horizontal" });
  #readout = element("figcaption", { className: "readout" });
  #name;
  #title = element("h3");
  #format;
  #mayBeLog;
  #curves = [];
  #best = null;
  #at = null; // the epoch that is read; null: the last one
  #cursor = null;
  #scale = null;

  constructor(host, title, { format = short, log = false } = {}) {
    this.#host = host;
    this.#name = title;
    this.#format = format;
    this.#mayBeLog = log;
    host.classList.add("figure");
    host.replaceChildren(this.#title, this.#readout, this.#svg);
    this.#svg.setAttribute("aria-label", `${title} by epoch; arrow keys read a value`);
    this.#svg.addEventListener("pointermove", (event) => this.#point(event));
    this.#svg.addEventListener("pointerdown", (event) => this.#point(event));
    this.#svg.addEventListener("pointerleave", () => this.#read(null));
    this.#svg.addEventListener("blur", () => this.#read(null));
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(host);
  }

  /** Shows these curves; `best` is an epoch that is marked. */
  show(curves, best = null) {
    this.#curves = curves;
    this.#best = best;
    this.#host.hidden = !this.#epochs.length;
    this.#draw();
  }

  get #epochs() {
    const found = this.#curves.flatMap(({ points }) => points.filter(([, y]) => known(y)).map(([x]) => x));
    return [...new Set(found)].sort((a, b) => a - b);
  }

  #draw() {
    const epochs = this.#epochs;
    const width = this.#host.clientWidth;
    if (!epochs.length || !width) return;
    this.#scale = scaleOf(this.#curves, epochs, width, this.#mayBeLog);
    const { x, y, right, bottom } = this.#scale;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [];
    for (const value of this.#scale.yTicks) {
      const at = y(value).toFixed(1);
      parts.push(shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: at, y2: at }));
      parts.push(label(MARGIN.left - 8, Number(at) + 4, short(value), "end"));
    }
    for (const value of this.#scale.xTicks) parts.push(label(x(value), HEIGHT - 8, String(value), "middle"));
    parts.push(label(MARGIN.left - 8, HEIGHT - 8, "epoch", "end"));
    parts.push(shape("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
    if (this.#best !== null && epochs.includes(this.#best)) {
      const at = x(this.#best).toFixed(1);
      parts.push(shape("line", { class: "best", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
    }
    this.#curves.forEach(({ points }, number) => parts.push(...curve(points, this.#scale, number)));
    this.#cursor = shape("line", { class: "cursor", y1: MARGIN.top, y2: bottom });
    this.#svg.replaceChildren(...parts, this.#cursor);
    this.#read(this.#at);
  }

  #point(event) {
    const box = this.#svg.getBoundingClientRect();
    const wanted = this.#scale?.epochAt(((event.clientX - box.left) / box.width) * this.#host.clientWidth);
    if (wanted === undefined) return;
    this.#read(this.#epochs.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a)));
  }

  #key(event) {
    const epochs = this.#epochs;
    const place = this.#at === null ? epochs.length - 1 : epochs.indexOf(this.#at);
    const places = {
      ArrowLeft: place - 1,
      ArrowDown: place - 1,
      ArrowRight: place + 1,
      ArrowUp: place + 1,
      PageDown: place - 10,
      PageUp: place + 10,
      Home: 0,
      End: epochs.length - 1,
    };
    if (!(event.key in places)) return;
    event.preventDefault();
    this.#read(epochs[Math.max(0, Math.min(epochs.length - 1, places[event.key]))]);
  }

  /** Tells the values of an epoch; of the last one where it is null. */
  #read(epoch) {
    const epochs = this.#epochs;
    if (!epochs.length || !this.#scale) return;
    this.#at = epochs.includes(epoch) ? epoch : null;
    const shown = this.#at ?? epochs.at(-1);
    const at = this.#scale.x(shown).toFixed(1);
    this.#cursor.setAttribute("x1", at);
    this.#cursor.setAttribute("x2", at);
    this.#cursor.classList.toggle("on", this.#at !== null);
    const values = this.#curves.map(({ label: name, points }, number) => {
      const value = points.find(([x]) => x === shown)?.[1];
      return [name, known(value) ? this.#format(value) : "-", number];
    });
    const best = shown === this.#best ? ", the best one" : "";
    this.#readout.replaceChildren(
      element("span", { className: "quiet" }, `epoch ${shown}`),
      ...values.map(([name, value, number]) =>
        element("span", { className: `key curve-${number % 4}` }, `${name} `, element("strong", {}, value)),
      ),
      ...(epochs.includes(this.#best) ? [element("span", { className: "quiet best-key" }, `best: ${this.#best}`)] : []),
    );
    this.#title.textContent = this.#scale.log ? `${this.#name}, logarithmic` : this.#name;
    const sentence = `Epoch ${shown}${best}: ${values.map(([name, value]) => `${name} ${value}`).join(", ")}`;
    for (const [name, value] of [
      ["aria-valuemin", epochs[0]],
      ["aria-valuemax", epochs.at(-1)],
      ["aria-valuenow", shown],
      ["aria-valuetext", sentence],
    ]) {
      this.#svg.setAttribute(name, value);
    }
  }
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

function label(x, y, text, anchor) {
  return shape("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor, class: "tick" }, text);
}

/** Where a value stands: x and y in pixels, and the numbers along both axes. */
function scaleOf(curves, epochs, width, mayBeLog) {
  const values = curves.flatMap(({ points }) => points.map(([, y]) => y).filter(known));
  const [right, bottom] = [width - MARGIN.right, HEIGHT - MARGIN.bottom];
  let [least, most] = [Math.min(...values), Math.max(...values)];
  const log = mayBeLog && least > 0 && most / least > WIDE_RANGE;
  if (!log) {
    least = Math.min(0, least);
    if (most === least) most = least + 1;
    else most += 0.04 * (most - least);
  }
  const place = log ? (value) => Math.log(value / least) / Math.log(most / least) : (v) => (v - least) / (most - least);
  const [first, last] = [epochs[0], Math.max(epochs.at(-1), epochs[0] + 1)];
  const x = (epoch) => MARGIN.left + ((epoch - first) / (last - first)) * (right - MARGIN.left);
  return {
    log,
    right,
    bottom,
    x,
    y: (value) => bottom - place(value) * (bottom - MARGIN.top),
    epochAt: (pixel) => first + ((pixel - MARGIN.left) / (right - MARGIN.left)) * (last - first),
    yTicks: log ? logTicks(least, most) : ticks(least, most, 4),
    xTicks: ticks(first, epochs.at(-1), Math.max(2, Math.floor(width / 80)), { whole: true }),
  };
}

/** A line, broken where a value is missing, and dots where there are few of them. */
function curve(points, { x, y }, number) {
  const style = `curve-${number % 4}`;
  let path = "";
  let pen = "M";
  for (const [epoch, value] of points) {
    if (known(value)) path += `${pen}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = known(value) ? "L" : "M";
  }
  const dots = points.length > 40 ? [] : points.filter(([, value]) => known(value));
  return [
    shape("path", { class: `curve ${style}`, d: path || "M0 0" }),
    ...dots.map(([epoch, value]) =>
      shape("circle", { class: `dot ${style}`, cx: x(epoch).toFixed(1), cy: y(value).toFixed(1), r: 2.5 }),
    ),
  ];
}
