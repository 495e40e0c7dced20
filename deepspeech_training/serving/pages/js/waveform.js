// The waveform with its words: press a word to hear it, or go from word to word with the arrow keys.

import { PEAKS_PER_S } from "./peaks.js";
import { clock } from "./times.js";
import { describe } from "./words.js";

const SHOWN_AT_FIRST_S = 15;
const LEAST_SHOWN_S = 1;
const BAR_PX = 3; // with the gap
const QUIETEST = 0.05; // a peak that fills the height; what is quieter looks quiet

/** Events: `word` {index}, `seek` {seconds}. */
export class Waveform extends EventTarget {
  #canvas;
  #overview;
  #peaks = new Float32Array(0);
  #start = 0; // seconds of the recording at which the peaks begin
  #seconds = 0;
  #gain = 1;
  #words = [];
  #selected = -1;
  #playhead = null;
  #view = { from: 0, length: SHOWN_AT_FIRST_S };

  constructor(canvas, overview) {
    super();
    this.#canvas = canvas;
    this.#overview = overview;
    canvas.addEventListener("click", (event) => this.#click(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("pointermove", (event) => this.#hover(event));
    overview.addEventListener("click", (event) => {
      const { left, width } = overview.getBoundingClientRect();
      this.#emit("seek", { seconds: this.#start + ((event.clientX - left) / width) * this.#seconds });
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** A finished sound. `peaks` may be null: then only the words are drawn. */
  show({ peaks, seconds, start = 0 }) {
    this.#setPeaks(peaks ?? new Float32Array(0));
    this.#start = start;
    this.#seconds = seconds;
    this.#view = { from: start, length: Math.min(seconds, SHOWN_AT_FIRST_S) };
    this.#playhead = null;
    this.select(-1);
  }

  /** The last seconds of a recording in progress. */
  showLive(peaks, end, shown) {
    this.#setPeaks(peaks);
    this.#seconds = peaks.length / PEAKS_PER_S;
    this.#start = end - this.#seconds;
    this.#view = { from: Math.max(0, end - shown), length: shown };
    this.draw();
  }

  #setPeaks(peaks) {
    this.#peaks = peaks;
    this.#gain =
      1 /
      Math.max(
        QUIETEST,
        peaks.reduce((most, peak) => Math.max(most, peak), 0),
      );
  }

  setWords(words) {
    this.#words = words;
    this.select(-1);
  }

  select(index) {
    this.#selected = index < this.#words.length ? index : -1;
    const word = this.#words[this.#selected];
    this.#canvas.setAttribute("aria-valuemin", this.#words.length ? 1 : 0);
    this.#canvas.setAttribute("aria-valuemax", this.#words.length);
    this.#canvas.setAttribute("aria-valuenow", this.#selected + 1);
    this.#canvas.setAttribute(
      "aria-valuetext",
      word
        ? `word ${this.#selected + 1} of ${this.#words.length}: ${describe(word)}`
        : this.#words.length
          ? `${this.#words.length} words`
          : "no words yet",
    );
    if (word) this.#reveal(word.start, word.end);
    this.draw();
  }

  /** Where the sound is now, in seconds; returns the index of the word there, or null. */
  moveTo(seconds) {
    this.#playhead = seconds;
    this.#reveal(seconds, seconds);
    this.draw();
    const index = this.#words.findIndex(({ start, end }) => seconds >= start && seconds < end);
    return index < 0 ? null : index;
  }

  zoom(factor) {
    const middle = this.#playhead ?? this.#words[this.#selected]?.start ?? this.#view.from + this.#view.length / 2;
    const length = Math.max(
      Math.min(LEAST_SHOWN_S, this.#seconds),
      Math.min(this.#view.length / factor, this.#seconds),
    );
    this.#view = { from: this.#within(middle - length / 2, length), length };
    this.draw();
  }

  draw() {
    const { width, height, context, colour } = prepared(this.#canvas);
    if (!width) return;
    const x = (seconds) => ((seconds - this.#view.from) / this.#view.length) * width;
    const below = this.#words.length ? 26 : 0; // px for the words
    const middle = (height - below) / 2;
    this.#words.forEach((word, index) => {
      if (index !== this.#selected) return;
      context.fillStyle = colour("--tint");
      context.fillRect(x(word.start), 0, Math.max(2, x(word.end) - x(word.start)), height);
    });
    for (let bar = 0; bar < width / BAR_PX; bar++) {
      const at = this.#view.from + ((bar * BAR_PX) / width) * this.#view.length;
      const level = this.#level(at, (BAR_PX / width) * this.#view.length);
      const played = this.#playhead !== null && at < this.#playhead;
      context.fillStyle = colour(played ? "--accent" : "--wave");
      const half = Math.max(0.75, Math.sqrt(level) * (middle - 4)); // the root: speech is quiet most of the time
      context.fillRect(bar * BAR_PX, middle - half, BAR_PX - 1, 2 * half);
    }
    this.#drawWords(context, colour, x, width, height);
    if (this.#playhead !== null) {
      context.fillStyle = colour("--accent");
      context.fillRect(x(this.#playhead) - 1, 0, 2, height - below);
    }
    this.#drawOverview();
  }

  #drawWords(context, colour, x, width, height) {
    context.font = `13px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.textBaseline = "alphabetic";
    let free = -Infinity; // px up to which the line is taken
    this.#words.forEach((word, index) => {
      const from = x(word.start);
      const to = x(word.end);
      if (to < 0 || from > width) return;
      const selected = index === this.#selected;
      context.globalAlpha = selected ? 1 : 0.55 + 0.45 * (word.confidence ?? 1);
      context.fillStyle = colour(selected ? "--accent" : "--text");
      context.fillRect(from, height - 22, Math.max(2, to - from - 1), 2);
      const textWidth = context.measureText(word.text).width;
      const left = Math.max(0, Math.min(Math.max(from, free), width - textWidth));
      if (left >= free && left < to + 8) {
        context.fillText(word.text, left, height - 5);
        free = left + textWidth + 6;
      }
      context.globalAlpha = 1;
    });
  }

  #drawOverview() {
    const whole = this.#view.length >= this.#seconds - 1e-6;
    this.#overview.hidden = whole || this.#peaks.length === 0;
    if (this.#overview.hidden) return;
    const { width, height, context, colour } = prepared(this.#overview);
    const x = (seconds) => ((seconds - this.#start) / this.#seconds) * width;
    context.fillStyle = colour("--tint");
    context.fillRect(
      x(this.#view.from),
      0,
      Math.max(3, x(this.#view.from + this.#view.length) - x(this.#view.from)),
      height,
    );
    context.fillStyle = colour("--wave");
    for (let px = 0; px < width; px += 2) {
      const at = this.#start + (px / width) * this.#seconds;
      const half = Math.max(0.5, (Math.sqrt(this.#level(at, (2 / width) * this.#seconds)) * height) / 2);
      context.fillRect(px, height / 2 - half, 1, 2 * half);
    }
    if (this.#playhead === null) return;
    context.fillStyle = colour("--accent");
    context.fillRect(x(this.#playhead) - 1, 0, 2, height);
  }

  #level(seconds, length) {
    const first = Math.max(0, Math.floor((seconds - this.#start) * PEAKS_PER_S));
    const last = Math.min(
      this.#peaks.length,
      Math.max(first + 1, Math.ceil((seconds - this.#start + length) * PEAKS_PER_S)),
    );
    let level = 0;
    for (let i = first; i < last; i++) level = Math.max(level, this.#peaks[i]);
    return seconds < this.#start ? 0 : Math.min(1, level * this.#gain);
  }

  #reveal(from, to) {
    const { from: left, length } = this.#view;
    if (from >= left && to <= left + length) return;
    this.#view = { from: this.#within(from - length * 0.15, length), length };
  }

  #within(from, length) {
    return Math.max(this.#start, Math.min(from, this.#start + this.#seconds - length));
  }

  #at(event) {
    const { left, width } = this.#canvas.getBoundingClientRect();
    return this.#view.from + ((event.clientX - left) / width) * this.#view.length;
  }

  /** The word said at a time, or the nearest within 0.1 s: letters end before the sound does. */
  #wordAt(seconds) {
    const distance = ({ start, end }) => Math.max(start - seconds, seconds - end, 0);
    let best = -1;
    this.#words.forEach((word, index) => {
      if (distance(word) <= 0.1 && (best < 0 || distance(word) < distance(this.#words[best]))) best = index;
    });
    return best;
  }

  #click(event) {
    const seconds = this.#at(event);
    const index = this.#wordAt(seconds);
    if (index >= 0) this.#emit("word", { index });
    else this.#emit("seek", { seconds });
  }

  #hover(event) {
    const seconds = this.#at(event);
    const word = this.#words[this.#wordAt(seconds)];
    this.#canvas.title = word ? describe(word) : clock(seconds, 1);
  }

  #key(event) {
    const last = this.#words.length - 1;
    const to = {
      ArrowRight: this.#selected + 1,
      ArrowUp: this.#selected + 1,
      ArrowLeft: this.#selected - 1,
      ArrowDown: this.#selected - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to !== undefined && last >= 0) this.select(Math.max(0, Math.min(to, last)));
    else if ((event.key === "Enter" || event.key === " ") && this.#selected >= 0)
      this.#emit("word", { index: this.#selected });
    else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.6 : 1 / 1.6);
    else return;
    event.preventDefault();
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A canvas of the size it has on the page, at the pixels of the screen. */
function prepared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  return { width, height, context, colour: (name) => style.getPropertyValue(name) };
}
