// Takes on their way to the server: kept in this browser until it has them, also when the page is closed meanwhile.

import { Trouble } from "../trouble.js";

const DATABASE = "deepspeech-studio";
const TABLE = "takes";
const AGAIN_MS = 3000;
const SEND_MS = 30000;
// What another try may fix. All else the server will never take, and a person decides.
const LATER = new Set(["gone", "no_key", "overloaded", "rate_limit_exceeded", "not_ready", "model_not_ready"]);
for (const code of ["draining", "no_room", "internal", "internal_error", "idle", "error"]) LATER.add(code);

/**
 * A take: {id, project, person, prompt, recordedAt, sound: Blob}. Events: `change` (what waits), `sent` {take, answer},
 * `trouble` {take, trouble}.
 */
export class Outbox extends EventTarget {
  #server;
  #waiting = new Map(); // by id, in the order in which they were recorded
  #refused = new Map(); // id -> Trouble
  #database = null;
  #again = 0; // timer
  #sending = null; // the run through all of them

  constructor(server) {
    super();
    this.#server = server;
    addEventListener("online", () => this.flush());
    addEventListener("beforeunload", (event) => {
      if (!this.#database && this.#waiting.size) event.preventDefault(); // only this tab has them
    });
  }

  /** What an earlier page has left. */
  async open() {
    try {
      this.#database = await opened();
      for (const take of await result(this.#table("readonly").getAll())) this.#waiting.set(take.id, take);
    } catch {
      this.#database = null; // a private window, or no room: this tab keeps them
    }
    this.#changed();
  }

  get takes() {
    return [...this.#waiting.values()].sort((a, b) => a.recordedAt.localeCompare(b.recordedAt));
  }

  /** Those that the server will never take: [take, Trouble]. */
  get refused() {
    return this.takes.filter(({ id }) => this.#refused.has(id)).map((take) => [take, this.#refused.get(take.id)]);
  }

  get isKept() {
    return this.#database !== null;
  }

  of(project, person) {
    return this.takes.filter((take) => take.project === project && take.person === person);
  }

  /** Keeps a take, and tries to send it at once; -> the server's answer, null where it waits. Throws Trouble: refused. */
  async add(take) {
    this.#waiting.set(take.id, take);
    try {
      if (this.#database) await result(this.#table("readwrite").put(take));
    } catch {
      this.#database = null; // no room in the browser
    }
    return this.#send(take);
  }

  async discard(id) {
    this.#waiting.delete(id);
    this.#refused.delete(id);
    if (this.#database) await result(this.#table("readwrite").delete(id)).catch(() => {});
    this.#changed();
  }

  /** Sends all that waits, one after the other, until one cannot be sent. */
  flush() {
    this.#sending ??= this.#run().finally(() => (this.#sending = null));
    return this.#sending;
  }

  async #run() {
    clearTimeout(this.#again);
    for (const take of this.takes) {
      if (this.#refused.has(take.id) || !this.#waiting.has(take.id)) continue;
      try {
        if ((await this.#send(take)) === null) return;
      } catch {
        // it was told with the event; the others may be better
      }
    }
  }

  async #send(take) {
    const query = new URLSearchParams({ person: take.person, prompt: take.prompt, recorded_at: take.recordedAt });
    const path = `v1/studio/projects/${take.project}/takes/${take.id}?${query}`;
    try {
      const answer = await this.#server.send("PUT", path, take.sound, { timeoutMs: SEND_MS });
      await this.discard(take.id);
      this.dispatchEvent(new CustomEvent("sent", { detail: { take, answer } }));
      return answer;
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      this.dispatchEvent(new CustomEvent("trouble", { detail: { take, trouble } }));
      if (LATER.has(trouble.code)) {
        clearTimeout(this.#again);
        this.#again = setTimeout(() => this.flush(), AGAIN_MS);
        this.#changed();
        return null;
      }
      this.#refused.set(take.id, trouble);
      this.#changed();
      throw trouble;
    }
  }

  #table(mode) {
    return this.#database.transaction(TABLE, mode).objectStore(TABLE);
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
  return result(request);
}

/** Of a request; what was written is on the disk when its transaction is done. */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const { transaction } = request;
      if (transaction?.mode !== "readwrite") return resolve(request.result);
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    };
  });
}
