// One take after the other from a microphone that stays open, so that none begins late.

import { Microphone } from "../microphone.js";
import { Recording } from "../recording.js";

const BEFORE = 3; // chunks of 100 ms that are kept from before Record was pressed
const AFTER_MS = 250; // recorded after Stop was pressed
const LATE_MS = 1000;

/** Events: `level` {peak, seconds}, `full`, `silent`, `lost` {trouble}. */
export class Recorder extends EventTarget {
  #microphone = null;
  #before = [];
  #recording = null;
  #mostS;

  constructor(mostS) {
    super();
    this.#mostS = mostS;
  }

  get isOpen() {
    return this.#microphone !== null;
  }

  get isOn() {
    return this.#recording !== null;
  }

  /** Throws Trouble. */
  async open() {
    if (this.#microphone) return;
    const microphone = new Microphone();
    await microphone.open();
    this.#microphone = microphone;
    microphone.addEventListener("chunk", ({ detail }) => this.#heard(detail));
    microphone.addEventListener("silent", () => this.dispatchEvent(new CustomEvent("silent")));
    microphone.addEventListener("lost", ({ detail }) => this.#lost(detail));
  }

  async close() {
    const microphone = this.#microphone;
    this.#microphone = null;
    this.#before = [];
    await microphone?.close();
  }

  start() {
    this.#recording = new Recording(this.#microphone.sampleRate);
    for (const pcm of this.#before) this.#recording.push(pcm);
  }

  /** Ends the take; -> a WAV, null where no sound came. */
  async stop() {
    const recording = this.#recording;
    const until = recording.seconds + AFTER_MS / 1000;
    const late = performance.now() + LATE_MS; // a microphone that is gone gives no more
    while (this.#microphone && recording.seconds < until && performance.now() < late) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (this.#recording === recording) this.#recording = null;
    return recording.samples ? recording.toWav() : null;
  }

  #heard({ pcm, peak }) {
    if (!this.#microphone) return;
    this.#before.push(pcm);
    if (this.#before.length > BEFORE) this.#before.shift();
    this.#recording?.push(pcm);
    const seconds = this.#recording?.seconds ?? 0;
    this.dispatchEvent(new CustomEvent("level", { detail: { peak, seconds } }));
    if (seconds > this.#mostS - 1) this.dispatchEvent(new CustomEvent("full"));
  }

  #lost(detail) {
    this.close();
    this.dispatchEvent(new CustomEvent("lost", { detail }));
  }
}
