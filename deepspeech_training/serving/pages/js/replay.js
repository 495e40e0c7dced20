// Sound that the server may have to hear again: what was said since the last sentence that it finished.

export const KEPT_S = 30;

/** Positions are samples from the start of the recording. */
export class ReplayBuffer {
  #chunks = []; // {start, pcm: Int16Array}

  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.end = 0;
  }

  get start() {
    return this.#chunks[0]?.start ?? this.end;
  }

  push(pcm) {
    const chunk = new Int16Array(pcm);
    this.#chunks.push({ start: this.end, pcm: chunk });
    this.end += chunk.length;
  }

  get seconds() {
    return (this.end - this.start) / this.sampleRate;
  }

  /** Drops the chunks that lie before `position` as a whole. */
  release(position) {
    while (this.#chunks.length && this.#chunks[0].start + this.#chunks[0].pcm.length <= position) this.#chunks.shift();
  }

  /** Drops the oldest chunk and returns where the rest begins. */
  dropOldest() {
    this.#chunks.shift();
    return this.start;
  }

  /** What lies from `position` to the end of its chunk; null when nothing is there yet. */
  from(position) {
    const chunk = this.#chunks.find(({ start, pcm }) => start + pcm.length > position);
    return chunk ? chunk.pcm.subarray(Math.max(0, position - chunk.start)) : null;
  }
}
