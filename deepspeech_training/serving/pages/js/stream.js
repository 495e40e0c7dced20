// A recording over /v1/stream or /v1/detect (docs/protocols.md): connects, sends, connects again when the line breaks, tells losses.
//
// The times that the server tells count from the start of its session. After a break a new session begins with what was
// said since the last finished sentence; its times are put behind those that were told before. Of a sentence that is
// longer than the 30 s that are kept, the text as far as it was told stands.

import { KEPT_S, ReplayBuffer } from "./replay.js";
import { Trouble } from "./trouble.js";
import { utteranceOf, utteranceOfCommand } from "./utterances.js";

const IN_FLIGHT_S = 2; // sound in the browser's send queue beyond which we wait
const BURST_S = 5; // after a break: sent at once, the rest at BURST_SPEED times the pace of speech
const BURST_SPEED = 8;
const PING_EVERY_MS = 5000;
const SILENT_LINE_MS = 15000; // nothing from the server for so long: the line is dead
const FINISH_WITHIN_S = 30; // after Stop, until the last words are here
const PRE_ROLL_S = 0.5; // before where the server heard speech begin
const POLICY = 1008;
const HOPELESS = new Set(["bad_request", "unknown_model", "no_key", "forbidden"]); // the same again would fail again
const ENDS = new Set(["too_long", "idle"]); // of a session, by a limit: the next one may begin

/**
 * Events, all with seconds from the start of the recording:
 *   partial {text, stable, start} | null     final: an utterance, as utterances.js has it
 *   lost {start, end}                        behind {network_s, server_s}, about once a second
 *   state {state: "connecting" | "open" | "waiting" | "closed", trouble, retry_s}
 *   failed {trouble}, after which nothing more comes
 */
export class SpeechStream extends EventTarget {
  #socket = null;
  #ready = false;
  #greetings = 0; // the server says `ready` when connected, and once more when it has taken our settings
  #closed = false;
  #attempts = 0;
  #origin = 0; // sample at which the present session began
  #sent = 0; // samples that were handed to the browser
  #pinged = 0; // of those, when the server was last asked how far it is
  #recognised = 0; // samples that the server has worked on
  #settled = 0; // samples that need not be heard again
  #speaking = false; // an utterance is open
  #partial = null; // its text until now, where it starts, and the second up to which that was heard
  #readyAt = 0; // ms
  #heardAt = 0; // ms
  #serverLag = 0;
  #finishing = null; // {resolve, asked}
  #timers = new Set();

  /** `clipSeconds`: of a model of commands, whose answers come over /v1/detect. */
  constructor(server, settings, sampleRate, clipSeconds = null) {
    super();
    this.clipSeconds = clipSeconds;
    this.server = server;
    this.settings = settings;
    this.rate = sampleRate;
    this.replay = new ReplayBuffer(sampleRate);
  }

  start() {
    this.#every(100, () => this.#pump());
    this.#every(1000, () =>
      this.#emit("behind", { network_s: this.#stuck, server_s: this.#ready ? this.#serverLag : 0 }),
    );
    this.#every(PING_EVERY_MS, () => this.#checkLine());
    this.#connect();
  }

  /** 100 ms of sound: ArrayBuffer of int16. */
  push(pcm) {
    this.replay.push(pcm);
    this.#pump();
    while (this.replay.seconds > KEPT_S && !this.#closed) this.#forgetOldest();
  }

  /** Sends what is left and waits for the last words; gives up after 30 s. */
  finish() {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#finishing = { resolve, asked: false };
      this.#after(1000 * FINISH_WITHIN_S, () => this.abort());
      this.#pump();
    });
  }

  /** Ends now, without the last words. */
  abort() {
    if (this.#closed) return;
    this.#tellLost(this.#settled, this.replay.end);
    this.#close();
  }

  /** Seconds of sound that the network does not take. */
  get #stuck() {
    if (!this.#ready) return 0;
    const inBrowser = this.#socket.bufferedAmount / (2 * this.rate);
    return inBrowser < IN_FLIGHT_S ? inBrowser : inBrowser + (this.replay.end - this.#sent) / this.rate;
  }

  #connect() {
    this.#emit("state", { state: "connecting" });
    let socket;
    try {
      socket = this.server.webSocket(this.clipSeconds ? "v1/detect" : "v1/stream");
    } catch (error) {
      this.#fail(new Trouble("gone", `The browser does not connect: ${error.message}`));
      return;
    }
    this.#socket = socket;
    this.#greetings = 0;
    this.#heardAt = performance.now();
    let trouble = null;
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: "start", rate: this.rate, format: "s16le", ...this.settings }));
    socket.onmessage = ({ data }) => {
      this.#heardAt = performance.now();
      const message = JSON.parse(data);
      if (message.type === "error") trouble = new Trouble(message.code, message.message);
      else this.#receive(message);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) this.#disconnected(code, trouble);
    };
  }

  #receive(message) {
    const moved = (seconds) => seconds + this.#origin / this.rate;
    this.#serverLag = message.lag_s ?? this.#serverLag;
    if (message.type === "ready") {
      if (++this.#greetings === 2) this.#begin();
    } else if (message.type === "speech_start") {
      this.#speaking = true;
      this.#settle(moved(message.at - PRE_ROLL_S));
    } else if (message.type === "speech_end") this.#speaking = false;
    else if (message.type === "partial") {
      this.#speaking = true;
      const start = moved(message.start);
      this.#partial = { text: message.text, start, heard: moved(message.heard) };
      this.#emit("partial", { text: message.text, stable: message.stable, start });
    } else if (message.type === "final") {
      this.#speaking = false;
      this.#partial = null;
      this.#settle(moved(message.end));
      this.#emit("partial", null);
      this.#emit("final", utteranceOf(message, this.#origin / this.rate));
    } else if (message.type === "detection") {
      this.#settle(moved(message.time));
      this.#emit("final", utteranceOfCommand(message, this.clipSeconds, this.#origin / this.rate));
    } else if (message.type === "pong") this.#recognised = this.#pinged - message.lag_s * this.rate;
    else if (message.type === "done") this.#settle(this.replay.end / this.rate);
  }

  /** The server is ready: says what can't be heard again, and sends from where it can. */
  #begin() {
    const from = Math.max(this.#settled, this.replay.start);
    this.#tellLost(this.#settled, from);
    this.#origin = this.#sent = this.#pinged = this.#recognised = this.#settled = from;
    this.#ready = true;
    this.#attempts = 0;
    this.#speaking = false;
    this.#readyAt = performance.now();
    this.#emit("state", { state: "open" });
    this.#pump();
  }

  #pump() {
    if (!this.#ready || this.#closed) return;
    const elapsed = (performance.now() - this.#readyAt) / 1000;
    const allowed = this.#origin + (BURST_S + BURST_SPEED * elapsed) * this.rate;
    while (
      this.#sent < Math.min(allowed, this.replay.end) &&
      this.#socket.bufferedAmount < IN_FLIGHT_S * 2 * this.rate
    ) {
      const chunk = this.replay.from(this.#sent);
      this.#socket.send(chunk);
      this.#sent += chunk.length;
    }
    if (this.#finishing && !this.#finishing.asked && this.#sent === this.replay.end) {
      this.#finishing.asked = true;
      this.#socket.send(JSON.stringify({ type: "finish" }));
    }
  }

  #settle(seconds) {
    this.#settled = Math.max(this.#settled, Math.min(Math.round(seconds * this.rate), this.replay.end));
    this.replay.release(Math.min(this.#settled, this.#sent));
  }

  #forgetOldest() {
    const start = this.replay.dropOldest();
    if (start > this.#sent && this.#ready) {
      this.#reconnect(new Trouble("slow_network", "The network is too slow for this recording."));
    } else if (start <= this.#recognised && !this.#speaking) {
      this.#settled = Math.max(this.#settled, start); // nobody spoke
    }
  }

  #checkLine() {
    if (!this.#socket || this.#socket.readyState !== WebSocket.OPEN) return;
    if (performance.now() - this.#heardAt > SILENT_LINE_MS) {
      this.#reconnect(new Trouble("gone", "The line to the server is dead."));
    } else if (this.#ready) {
      this.#pinged = this.#sent;
      this.#socket.send(JSON.stringify({ type: "ping" }));
    }
  }

  #reconnect(trouble) {
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#disconnected(1006, trouble);
  }

  async #disconnected(code, told) {
    const wasReady = this.#ready;
    this.#ready = false;
    if (this.#closed) return;
    if (this.#finishing?.asked && code === 1000) {
      this.#close();
      return;
    }
    if (this.#finishing) this.#finishing.asked = false;
    this.#keepLongSentence();
    this.#emit("partial", null); // it is heard again
    const trouble = told ?? (await this.#reason(code, wasReady));
    if (this.#closed) return;
    if (HOPELESS.has(trouble.code) || (code === POLICY && !ENDS.has(trouble.code))) {
      this.#fail(trouble);
      return;
    }
    const retry_s = Math.min(8, 0.5 * 2 ** this.#attempts++) * (0.75 + Math.random() / 2);
    this.#emit("state", { state: "waiting", trouble, retry_s });
    this.#after(1000 * retry_s, () => this.#connect());
  }

  /** A sentence whose beginning cannot be heard again ends where the line broke. */
  #keepLongSentence() {
    if (this.#partial?.text && this.replay.start > this.#settled) {
      const { text, start, heard } = this.#partial;
      this.#settle(heard);
      this.#emit("final", { text, words: [], alternatives: [], start, end: heard });
    }
    this.#partial = null;
  }

  async #reason(code, wasReady) {
    if (code === 1012) return new Trouble("restart", "The server restarts.");
    if (code === 1013) return new Trouble("overloaded", "The server is busy.");
    if (code === POLICY) return new Trouble("no_key", "The server wants a key.");
    if (wasReady) return new Trouble("gone", "The connection to the server broke.");
    return this.server.whyRefused();
  }

  #tellLost(from, to) {
    if (to > from) this.#emit("lost", { start: from / this.rate, end: to / this.rate });
  }

  #fail(trouble) {
    this.#close();
    this.#emit("failed", { trouble });
  }

  #close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#ready = false;
    for (const timer of this.#timers) clearInterval(timer);
    this.#socket?.close();
    this.#emit("partial", null);
    this.#emit("state", { state: "closed" });
    this.#finishing?.resolve();
  }

  #every(ms, action) {
    this.#timers.add(setInterval(action, ms));
  }

  #after(ms, action) {
    this.#timers.add(setTimeout(action, ms));
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
