// What the microphone gave, kept in this tab to look at and to hear it; never stored.

export const KEPT_S = 600; // 58 MB at 48 kHz

/** 16-bit mono PCM that grows; beyond KEPT_S the oldest is dropped. Seconds count from the start of the recording. */
export class Recording {
  #chunks = [];

  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.droppedSamples = 0;
    this.samples = 0; // all that came, the dropped ones too
  }

  get seconds() {
    return this.samples / this.sampleRate;
  }

  /** Where what is kept begins. */
  get startS() {
    return this.droppedSamples / this.sampleRate;
  }

  push(pcm) {
    const chunk = new Int16Array(pcm);
    this.#chunks.push(chunk);
    this.samples += chunk.length;
    while (this.samples - this.droppedSamples > KEPT_S * this.sampleRate) {
      this.droppedSamples += this.#chunks.shift().length;
    }
  }

  /** The last `seconds` as float32, for the moving waveform. */
  tail(seconds) {
    const wanted = Math.round(seconds * this.sampleRate);
    const chunks = this.#chunks.slice(-Math.ceil(wanted / Math.max(1, this.#chunks[0]?.length ?? 1)) - 1);
    return floats(chunks).slice(-wanted);
  }

  toFloats() {
    return floats(this.#chunks);
  }

  /** A WAV file of what is kept. */
  toWav() {
    const bytes = 2 * (this.samples - this.droppedSamples);
    const header = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + bytes, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true); // PCM
    header.setUint16(22, 1, true); // channels
    header.setUint32(24, this.sampleRate, true);
    header.setUint32(28, 2 * this.sampleRate, true);
    header.setUint16(32, 2, true); // bytes of a frame
    header.setUint16(34, 16, true); // bits of a sample
    text(36, "data");
    header.setUint32(40, bytes, true);
    return new File([header, ...this.#chunks], "recording.wav", { type: "audio/wav" });
  }
}

function floats(chunks) {
  const all = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) for (const sample of chunk) all[at++] = sample / 32768;
  return all;
}
