// A recording in progress: microphone -> stream -> transcript; and what is wrong with line, server and microphone.

import { byId } from "./dom.js";
import { Microphone } from "./microphone.js";
import { clearNotice, notice } from "./notices.js";
import { KEPT_S, Recording } from "./recording.js";
import { SpeechStream } from "./stream.js";
import { clock } from "./times.js";

const NOTABLE_LAG_S = 3;
const SUBJECTS = ["microphone", "line", "behind", "silent", "kept", "before"];

/**
 * Events: `state` {state: "starting" | "on" | "finishing" | "off"}, `line` {open}: whether the server is there,
 * and at the end `ended` or, where the server wants one, `key`.
 */
export class Live extends EventTarget {
  state = "off";
  #server;
  #settings;
  #transcript;
  #sound;
  #microphone = null;
  #stream = null;
  #recording = null;
  #toldKept = false;
  #wakeLock = null;
  #wantsKey = false;

  constructor(server, settings, transcript, sound) {
    super();
    this.#server = server;
    this.#settings = settings;
    this.#transcript = transcript;
    this.#sound = sound;
  }

  async start() {
    clearNotice(...SUBJECTS);
    this.#become("starting");
    this.#microphone = new Microphone();
    try {
      await this.#microphone.open();
    } catch (trouble) {
      this.#become("off");
      notice("microphone", trouble.message);
      return;
    }
    this.#wantsKey = this.#toldKept = false;
    this.#transcript.clear();
    this.#sound.clear();
    this.#recording = new Recording(this.#microphone.sampleRate);
    this.#become("on");
    this.#stream = this.#openStream();
    this.#microphone.addEventListener("chunk", ({ detail }) => this.#heard(detail));
    this.#microphone.addEventListener("silent", () =>
      notice("silent", "Nothing but silence comes from the microphone: is it muted, or is another one meant?"),
    );
    this.#microphone.addEventListener("lost", ({ detail }) => {
      notice("microphone", detail.trouble.message);
      this.stop();
    });
    await this.#stayAwake();
  }

  /** A phone that sleeps does not listen. */
  async #stayAwake() {
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (this.state === "on") this.#wakeLock = lock;
    else lock?.release();
  }

  /** Stops the microphone and waits for the last words; once more: does not wait for them. */
  async stop() {
    if (this.state === "finishing") this.#stream.abort();
    if (this.state !== "on") return;
    this.#become("finishing");
    await this.#microphone.close();
    this.#level(0);
    await this.#stream.finish();
    this.#end();
  }

  #openStream() {
    const { hearsCommands, listening, streaming, model } = this.#settings;
    const rate = this.#microphone.sampleRate;
    const stream = hearsCommands
      ? new SpeechStream(this.#server, listening, rate, model.facts.clip_seconds)
      : new SpeechStream(this.#server, streaming, rate);
    const on = (name, act) => stream.addEventListener(name, ({ detail }) => act(detail));
    on("partial", (partial) => this.#transcript.setPartial(partial));
    on("final", (final) => this.#transcript.add(final));
    on("lost", (interval) => this.#transcript.addLost(interval));
    on("behind", (lag) => this.#tellLag(lag));
    on("state", (state) => this.#tellLine(state));
    on("failed", ({ trouble }) => this.#fail(trouble));
    stream.start();
    return stream;
  }

  #heard({ pcm, peak }) {
    if (this.state !== "on") return;
    this.#recording.push(pcm.slice(0));
    this.#stream.push(pcm);
    this.#level(peak);
    if (peak > 0) clearNotice("silent");
    byId("clock").textContent = clock(this.#recording.seconds);
    this.#sound.showLive(this.#recording);
    if (this.#recording.startS > 0 && !this.#toldKept) this.#tellKept();
  }

  #tellKept() {
    this.#toldKept = true;
    const text = `Of the sound only the last ${KEPT_S / 60} minutes are kept to be heard; the text is kept whole.`;
    notice("kept", text, { kind: "info", dismiss: true });
  }

  #level(peak) {
    // Decibels from -60 to 0: what ears take for even steps.
    const share = peak > 0 ? Math.max(0, Math.min(1, 1 + (20 * Math.log10(peak)) / 60)) : 0;
    byId("meter").firstElementChild.style.transform = `scaleX(${share.toFixed(3)})`;
    byId("meter").setAttribute("aria-valuenow", Math.round(100 * share));
    byId("meter").classList.toggle("loud", peak > 0.999);
  }

  #tellLine({ state, trouble }) {
    if (state === "waiting") {
      const meanwhile =
        this.state === "on"
          ? "Keep speaking: the last 30 seconds are kept here and sent when it is back."
          : "What was said last is sent when it is back; press Finishing to give it up.";
      notice("line", `${trouble.message} ${meanwhile}`, { dismiss: false });
      this.#emit("line", { open: false });
    } else if (state === "open") {
      clearNotice("line");
      this.#emit("line", { open: true });
    } else if (state === "closed" && this.state === "finishing") {
      clearNotice("line");
    }
  }

  #tellLag({ network_s, server_s }) {
    if (network_s > NOTABLE_LAG_S) {
      notice("behind", `The network is slower than you speak: ${Math.round(network_s)} s wait to be sent.`, {
        kind: "info",
      });
    } else if (server_s > NOTABLE_LAG_S) {
      notice("behind", `The server is ${Math.round(server_s)} s behind; the text comes later.`, { kind: "info" });
    } else {
      clearNotice("behind");
    }
  }

  async #fail(trouble) {
    this.#wantsKey = trouble.code === "no_key";
    if (!this.#wantsKey) notice("line", trouble.message);
    await this.#microphone.close();
    this.#level(0);
    if (this.state === "on") this.#end();
  }

  #end() {
    clearNotice("behind", "silent");
    this.#wakeLock?.release();
    if (this.#recording.samples) this.#sound.setRecording(this.#recording);
    this.#become("off");
    this.#emit(this.#wantsKey ? "key" : "ended");
  }

  #become(state) {
    this.state = state;
    this.#emit("state", { state });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
