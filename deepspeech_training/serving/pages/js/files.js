// Whole recordings: OpenAI's transcription with what our server adds to it, the comparison of decoders, and commands.

import { refusal } from "./server.js";
import { Trouble } from "./trouble.js";
import { utteranceOfCommand, utterancesOf } from "./utterances.js";

const GONE = "The server was gone before it had answered. The sound is still here: press Again when it is back.";

/**
 * Transcribes a file, which begins `offset` seconds after the recording that it is of.
 *
 * onProgress(share) is called with 0..1 while the file is sent, and with 1 when the server works on it.
 * Returns {utterances, duration}; throws Trouble ("cancelled" after `signal`).
 */
export async function transcribe(server, file, settings, { offset, onProgress, signal }) {
  const form = asForm(file, settings);
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("timestamp_granularities[]", "segment");
  const answer = await post(server, "v1/audio/transcriptions", form, { onProgress, signal });
  return { utterances: utterancesOf(answer, offset), duration: answer.duration };
}

/** The same of commands, each an utterance of its own, by a model of clips of `clipSeconds`. */
export async function detect(server, file, settings, { offset, clipSeconds, onProgress, signal }) {
  const found = await post(server, "v1/audio/detections", asForm(file, settings), { onProgress, signal });
  return { utterances: found.map((command) => utteranceOfCommand(command, clipSeconds, offset)) };
}

/** {text, without_scorer, greedy} of a file. */
export function compare(server, file, settings, { signal }) {
  return post(server, "v1/compare", asForm(file, settings), { signal });
}

function asForm(file, settings) {
  const form = new FormData();
  form.append("file", file, file.name);
  for (const [name, value] of Object.entries(settings)) {
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return form;
}

/** XMLHttpRequest, since fetch does not tell how much of a body is sent. */
function post(server, path, form, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", server.url(path));
    for (const [name, value] of Object.entries(server.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded / total);
    request.upload.onload = () => onProgress?.(1);
    request.onload = () => resolve(request);
    request.onerror = () => reject(new Trouble("gone", GONE));
    request.onabort = () => reject(new Trouble("cancelled", "Cancelled."));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  }).then(({ status, responseText }) => {
    if (status !== 200) throw refusal(status, responseText);
    return JSON.parse(responseText);
  });
}
