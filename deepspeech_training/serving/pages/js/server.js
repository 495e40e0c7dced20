// The server of this page: its address, its key, and requests that fail with a sentence.

import { SERVER_GONE, Trouble } from "./trouble.js";

const KEY = "deepspeech-key"; // of sessionStorage: it ends with the tab

export class Server {
  constructor(base = new URL(".", document.baseURI)) {
    this.base = base; // not location.origin: a proxy may serve us below a path
  }

  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(key) {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  }

  get headers() {
    return this.key ? { Authorization: `Bearer ${this.key}` } : {};
  }

  url(path) {
    return new URL(path, this.base);
  }

  /** JSON of a GET. Throws Trouble: "gone", or the code and the sentence of the server. */
  async get(path) {
    return whole((await this.#fetch(path)).json());
  }

  /** JSON of what changes something: `body` is an object, sent as JSON, or a Blob. Throws as `get` does. */
  async send(method, path, body, { timeoutMs } = {}) {
    const isBlob = body instanceof Blob;
    const type = isBlob ? body.type : "application/json";
    const options = { method, headers: { "Content-Type": type }, body: isBlob ? body : JSON.stringify(body) };
    if (timeoutMs) options.signal = AbortSignal.timeout(timeoutMs);
    return whole((await this.#fetch(path, options)).json());
  }

  async #fetch(path, { headers, ...options } = {}) {
    let response;
    try {
      response = await fetch(this.url(path), { headers: { ...this.headers, ...headers }, cache: "no-store", ...options });
    } catch {
      throw new Trouble("gone", SERVER_GONE);
    }
    if (!response.ok) throw refusal(response.status, await response.text());
    return response;
  }

  /** The bytes of a GET, such as sound. Throws as `get` does. */
  async blob(path) {
    return whole((await this.#fetch(path)).blob());
  }

  /** A websocket with the key among its subprotocols: browsers can send no header, and an address would be logged. */
  webSocket(path) {
    const url = this.url(path);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const sendable = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/; // token of RFC 9110
    if (!this.key) return new WebSocket(url, ["deepspeech"]);
    if (sendable.test(this.key)) return new WebSocket(url, ["deepspeech", `deepspeech-key.${this.key}`]);
    url.searchParams.set("key", this.key);
    return new WebSocket(url, ["deepspeech"]);
  }

  /** Why a websocket was refused before it was open, which browsers do not tell: asks with a request. */
  async whyRefused() {
    try {
      const { key_accepted, phase } = await this.get("v1/config");
      if (!key_accepted) return new Trouble("no_key", "The server wants a key.");
      if (phase === "loading") return new Trouble("not_ready", "The server loads its model.");
      if (phase === "draining") return new Trouble("restart", "The server restarts.");
    } catch (trouble) {
      return trouble;
    }
    return new Trouble("overloaded", "The server is busy: it takes no more recordings at the moment.");
  }
}

/** The body of an answer. Throws Trouble "gone" where it was cut off, or comes from somebody else than our server. */
async function whole(body) {
  try {
    return await body;
  } catch {
    throw new Trouble("gone", SERVER_GONE);
  }
}

/** An answer that is no success -> Trouble with the sentence of the server, if it sent one. */
export function refusal(status, text) {
  let error = {};
  try {
    const answer = JSON.parse(text);
    error =
      typeof answer.error === "object" && answer.error ? answer.error : { message: answer.message ?? answer.error };
  } catch {
    // not ours: a proxy's page, for instance
  }
  const plain = {
    401: ["no_key", "The server wants a key."],
    403: ["forbidden", `The server does not answer pages from ${location.host}.`],
    413: ["too_large", "The file is larger than the server takes."],
    429: ["overloaded", "The server is busy. Try again in a moment."],
    502: ["gone", SERVER_GONE],
    503: ["not_ready", "The server is not ready yet. Try again in a moment."],
    504: ["gone", SERVER_GONE],
  };
  const [code, message] = plain[status] ?? ["error", `The server answered with status ${status} and no explanation.`];
  return new Trouble(status === 401 ? "no_key" : (error.code ?? code), error.message || message);
}
