// Plays the recording, all of it or one word.

/** Events: `time` {seconds} while it plays, `state` {playing}. */
export class Player extends EventTarget {
  #audio = new Audio();
  #until = Infinity;
  #offset = 0; // where the sound begins, in seconds of the recording

  constructor() {
    super();
    this.#audio.preload = "auto";
    for (const name of ["play", "pause", "ended"]) {
      this.#audio.addEventListener(name, () => this.#emit("state", { playing: this.playing }));
    }
    this.#audio.addEventListener("play", () => requestAnimationFrame(() => this.#follow()));
    this.#audio.addEventListener("seeked", () => this.#emit("time", { seconds: this.seconds }));
  }

  /** A file to play, or null. */
  load(file, offset = 0) {
    this.#audio.pause();
    if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
    this.#offset = offset;
    if (file) this.#audio.src = URL.createObjectURL(file);
    else this.#audio.removeAttribute("src");
  }

  get loaded() {
    return this.#audio.hasAttribute("src");
  }

  get playing() {
    return !this.#audio.paused && !this.#audio.ended;
  }

  get seconds() {
    return this.#audio.currentTime + this.#offset;
  }

  /** Plays from `start` to `end`; throws where the browser cannot play this file. */
  async play(start = this.seconds, end = Infinity) {
    this.#until = end - this.#offset;
    this.#audio.currentTime = Math.max(0, start - this.#offset);
    await this.#audio.play();
  }

  pause() {
    this.#audio.pause();
  }

  seek(seconds) {
    this.#until = Infinity;
    this.#audio.currentTime = Math.max(0, seconds - this.#offset);
  }

  #follow() {
    if (this.#audio.currentTime >= this.#until) {
      this.#until = Infinity;
      this.#audio.pause();
    }
    this.#emit("time", { seconds: this.seconds });
    if (this.playing) requestAnimationFrame(() => this.#follow());
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
