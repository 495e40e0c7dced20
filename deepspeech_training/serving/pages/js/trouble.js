// What is wrong, in a sentence for the person in front of the page, with how to fix it.

/** `code` is for the program (as the server's error codes), `message` for the person. */
export class Trouble extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const NOTHING_YET = "There is no sound yet: record something or choose a file first.";
export const NO_TEXT_YET = "There is no text yet: record something or choose a file first.";

/** Why this page may not use the microphone at all; null where it may ask. */
export function microphoneForbidden() {
  if (!window.isSecureContext) {
    return new Trouble(
      "insecure_address",
      `Browsers give the microphone only to secure addresses, and ${location.origin} is not one. On the machine of ` +
        `the server itself, open http://localhost:${location.port || 80}. For other machines the server needs HTTPS: ` +
        "start it with --certificate and --certificate_key, or behind a proxy such as Caddy. Files work here as it is.",
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return new Trouble(
      "no_microphone_support",
      "This browser cannot record. Files work; for the microphone use a current browser.",
    );
  }
  return null;
}

/** What getUserMedia threw, as a sentence. */
export function microphoneTrouble(error) {
  const sentences = {
    NotAllowedError:
      "The microphone is blocked for this page. Allow it in the browser (the sign beside the address), or in the " +
      "settings of the system, and press Record again.",
    NotFoundError: "No microphone was found. Plug one in, or choose a file instead.",
    NotReadableError:
      "The microphone is there but gives no sound: another program may be using it. Close that one and press Record " +
      "again.",
  };
  const message = sentences[error.name] ?? `The microphone did not start: ${error.message || error.name}.`;
  return new Trouble(error.name === "NotAllowedError" ? "permission_denied" : "no_microphone", message);
}

export const SERVER_GONE = "The server does not answer. Is it still running, and is this machine still on the network?";
