// The microphone at the device's own rate, as chunks of 100 ms; the server resamples, and does it better than browsers.

import { microphoneForbidden, microphoneTrouble, Trouble } from "./trouble.js";

const STARTS_IN_MS = 10_000; // Firefox waits for ever where nothing plays sound
const SILENT_CHUNKS = 50; // 5 s of nothing but zeros: no microphone is that quiet

/**
 * Events: `chunk` {pcm: ArrayBuffer of little-endian int16, peak: 0..1}, `silent` (once), `lost` {trouble}.
 */
export class Microphone extends EventTarget {
  #context = null;
  #stream = null;
  #zeros = 0;

  get sampleRate() {
    return this.#context.sampleRate;
  }

  /** Asks for the microphone and starts. Throws Trouble. */
  async open() {
    const forbidden = microphoneForbidden();
    if (forbidden) throw forbidden;
    // What makes calls pleasant (gates, gain that moves) makes words harder to recognise.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: true };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
      this.#context = new AudioContext();
      await this.#context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
      await within(STARTS_IN_MS, this.#context.resume());
    } catch (error) {
      await this.close();
      throw error instanceof Trouble ? error : microphoneTrouble(error);
    }
    const node = new AudioWorkletNode(this.#context, "chunks", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.#heard(data);
    this.#context.createMediaStreamSource(this.#stream).connect(node);
    this.#stream.getAudioTracks()[0].onended = () =>
      this.#emit("lost", {
        trouble: new Trouble(
          "microphone_lost",
          "The microphone is gone: it was unplugged, or its permission was taken back.",
        ),
      });
  }

  async close() {
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#stream = null;
    if (this.#context && this.#context.state !== "closed") await this.#context.close();
  }

  #heard(chunk) {
    this.#zeros = chunk.peak > 0 ? -Infinity : this.#zeros + 1;
    if (this.#zeros === SILENT_CHUNKS) this.#emit("silent");
    this.#emit("chunk", chunk);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** The result of a promise; throws Trouble if that takes longer. */
function within(ms, promise) {
  const late = new Trouble(
    "no_audio",
    "The browser does not start its audio. Connect a loudspeaker or headphones, or close other programs that use " +
      "sound, and try again.",
  );
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(late), ms))]);
}
