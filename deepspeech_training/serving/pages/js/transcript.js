// What was recognised so far: finished sentences, the one in progress, and what was lost.

/**
 * utterances: as utterances.js has them; lost: [{start, end}]; partial: {text, stable, start} | null.
 * Event `change` {what: "utterance" | "partial" | "lost" | "all"}.
 */
export class Transcript extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  clear() {
    this.utterances = [];
    this.lost = [];
    this.partial = null;
    this.#changed("all");
  }

  add(utterance) {
    if (!utterance.text) return;
    this.utterances.push(utterance);
    this.#changed("utterance");
  }

  set(utterances) {
    this.clear();
    this.utterances = utterances;
    this.#changed("all");
  }

  setPartial(partial) {
    this.partial = partial?.text ? partial : null;
    this.#changed("partial");
  }

  addLost(interval) {
    this.lost.push(interval);
    this.#changed("lost");
  }

  /** All words in order, each with the number of its utterance. */
  get words() {
    return this.utterances.flatMap((utterance, index) =>
      utterance.words.map((word) => ({ ...word, utterance: index })),
    );
  }

  /** When somebody began to speak; a stretch of silence may come before the first word. */
  static startOf(utterance) {
    return utterance.words[0]?.start ?? utterance.start;
  }

  get isEmpty() {
    return this.utterances.length === 0 && !this.partial;
  }

  #changed(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: { what } }));
  }
}
