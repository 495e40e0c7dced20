// The sound at hand, a chosen file or a recording that was made: on the waveform, and to hear.

import { byId } from "./dom.js";
import { clearNotice, notice } from "./notices.js";
import { peaksOf, peaksOfFile } from "./peaks.js";
import { Player } from "./player.js";
import { clock } from "./times.js";
import { Waveform } from "./waveform.js";

const LIVE_S = 10; // of a recording in progress
const AROUND_S = 0.05; // heard before and after a word

export class Sound {
  file = null;
  startS = 0; // where the file begins, in seconds of the recording; of a long one the beginning is not kept
  #transcript;
  #view;
  #player = new Player();
  #waveform = new Waveform(byId("waveform"), byId("overview"));
  #seconds = 0;

  constructor(transcript, view) {
    this.#transcript = transcript;
    this.#view = view;
    view.addEventListener("word", ({ detail }) => this.playWord(detail.index));
    this.#waveform.addEventListener("word", ({ detail }) => this.playWord(detail.index));
    this.#waveform.addEventListener("seek", ({ detail }) => this.#seek(detail.seconds));
    transcript.addEventListener("change", ({ detail }) => {
      if (detail.what !== "partial") this.#waveform.setWords(transcript.words);
    });
    this.#player.addEventListener("time", ({ detail }) => this.#show(detail.seconds));
    this.#player.addEventListener("state", ({ detail }) => {
      byId("play").textContent = detail.playing ? "Pause" : "Play";
    });
    byId("play").addEventListener("click", () => this.#toggle());
    byId("zoom-in").addEventListener("click", () => this.#waveform.zoom(1.6));
    byId("zoom-out").addEventListener("click", () => this.#waveform.zoom(1 / 1.6));
  }

  clear() {
    this.file = null;
    this.startS = 0;
    this.#player.load(null);
    clearNotice("sound");
    byId("sound").hidden = true;
  }

  /** A file that was chosen. The waveform is drawn as far as the browser can decode it. */
  async setFile(file) {
    this.clear();
    this.file = file;
    this.#player.load(file);
    byId("sound-name").textContent = file.name;
    const decoded = await peaksOfFile(file);
    if (this.file !== file) return; // another one was chosen meanwhile
    if (decoded) this.#present(decoded);
  }

  /** How long the server says it is: for files that the browser could not decode. */
  setDuration(seconds) {
    if (byId("sound").hidden && seconds) this.#present({ peaks: null, seconds });
  }

  /** While the microphone is open. */
  showLive(recording) {
    byId("sound").hidden = false;
    byId("sound").classList.add("is-live");
    this.#waveform.showLive(peaksOf(recording.tail(LIVE_S), recording.sampleRate), recording.seconds, LIVE_S);
  }

  /** A recording that has ended. */
  setRecording(recording) {
    this.file = recording.toWav();
    this.startS = recording.startS;
    this.#player.load(this.file, recording.startS);
    byId("sound-name").textContent =
      recording.startS > 0 ? `the last ${Math.round(recording.seconds - recording.startS)} s` : "";
    this.#present({
      peaks: peaksOf(recording.toFloats(), recording.sampleRate),
      seconds: recording.seconds - recording.startS,
      start: recording.startS,
    });
  }

  playWord(index) {
    const word = this.#transcript.words[index];
    if (!word) return;
    this.#waveform.select(index);
    this.#play(word.start - AROUND_S, word.end + AROUND_S);
  }

  #present({ peaks, seconds, start = 0 }) {
    this.#seconds = start + seconds;
    byId("sound").hidden = false;
    byId("sound").classList.remove("is-live");
    this.#waveform.show({ peaks, seconds, start });
    this.#waveform.setWords(this.#transcript.words);
    byId("playhead").textContent = `${clock(start)} / ${clock(this.#seconds)}`;
  }

  #toggle() {
    if (this.#player.playing) this.#player.pause();
    else this.#play();
  }

  async #play(start, end) {
    if (!this.#player.loaded) return; // while recording: what is heard comes after Stop
    try {
      await this.#player.play(start, end);
    } catch (error) {
      if (error.name !== "AbortError")
        notice("sound", "This browser cannot play this file; the server could read it all the same.", {
          kind: "info",
          dismiss: true,
        });
    }
  }

  #seek(seconds) {
    if (this.#player.loaded) this.#player.seek(seconds);
  }

  #show(seconds) {
    this.#view.highlight(this.#waveform.moveTo(seconds));
    byId("playhead").textContent = `${clock(seconds)} / ${clock(this.#seconds)}`;
  }
}
