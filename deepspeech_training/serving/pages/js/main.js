// The page at `/`: what its buttons do.

import { hideComparison, showComparison } from "./compare-view.js";
import { byId } from "./dom.js";
import { download, toJson, toSrt, toText } from "./exports.js";
import { showFacts, summary } from "./facts.js";
import { compare, detect, transcribe } from "./files.js";
import { askForKey } from "./key-dialog.js";
import { Live } from "./live.js";
import { clearNotice, notice } from "./notices.js";
import { Server } from "./server.js";
import { Settings } from "./settings.js";
import { Sound } from "./sound.js";
import { TranscriptView } from "./transcript-view.js";
import { Transcript } from "./transcript.js";
import { NO_TEXT_YET, NOTHING_YET } from "./trouble.js";

const CONFIG_AGAIN_MS = 2000;
const HOW_TO_BEGIN = byId("empty").textContent;
const OF_TEXTS = { title: "Speech to text", result: "Transcript", nothing: "Nothing was recognised" };
const OF_COMMANDS = { title: "Spoken commands", result: "Commands", nothing: "No command was heard" };
const server = new Server();
const transcript = new Transcript();
const view = new TranscriptView(transcript);
const settings = new Settings();
const sound = new Sound(transcript, view);
const live = new Live(server, settings, transcript, sound);
let asksAgain = 0; // timer
let working = null; // AbortController of the upload in progress

// --- the server ------------------------------------------------------------------------------------------------------

/** Asks what is served, until somebody answers; asks for the key where one is wanted. */
async function connect() {
  clearTimeout(asksAgain);
  try {
    const config = await server.get("v1/config");
    clearNotice("server");
    byId("version").textContent = `deepspeech ${config.version}`;
    byId("pages").hidden = !config.protocols.includes("/v1/status"); // of `deepspeech app`, which trains too
    byId("studio-link").hidden = !config.protocols.includes("/v1/studio");
    if (!config.key_accepted) {
      await wantKey();
    } else if (config.phase === "ready") {
      settings.setModels(config.models, config.limits);
      showModel();
      connection("ready", "Ready");
    } else {
      connection("connecting", config.phase === "loading" ? "Loading the model" : "The server restarts");
      asksAgain = setTimeout(connect, CONFIG_AGAIN_MS);
    }
  } catch (trouble) {
    connection("gone", "No server");
    notice("server", `${trouble.message} This page looks for it every few seconds.`, { dismiss: false });
    asksAgain = setTimeout(connect, CONFIG_AGAIN_MS);
  }
}

async function wantKey() {
  connection("gone", "Key wanted");
  if (await askForKey(server)) {
    clearNotice("key");
    await connect();
  } else {
    notice("key", "Without its key this server recognises nothing.", {
      dismiss: false,
      action: { label: "Enter the key", run: wantKey },
    });
  }
}

function connection(kind, text) {
  byId("connection").className = `connection ${kind}`;
  byId("connection").textContent = text;
}

function showModel() {
  const { model } = settings;
  if (!model) return;
  byId("model-line").textContent = summary(model);
  byId("title").textContent = document.title = names().title;
  byId("transcript-title").textContent = names().result;
  byId("compare-section").hidden = settings.hearsCommands;
  if (live.state === "off" && transcript.isEmpty) view.empty = howToBegin();
  byId("transcript").lang = model.facts.language || "";
  showFacts(model);
}

const names = () => (settings.hearsCommands ? OF_COMMANDS : OF_TEXTS);

function howToBegin() {
  if (!settings.hearsCommands) return HOW_TO_BEGIN;
  return `Press Record and say a command, or choose a recording. This model hears: ${settings.model.facts.commands.join(", ")}.`;
}

// --- the microphone --------------------------------------------------------------------------------------------------

async function record() {
  if (live.state === "on" || live.state === "finishing") {
    await live.stop();
    return;
  }
  if (live.state !== "off" || refusedBySettings()) return;
  working?.abort();
  hideComparison();
  const before = toText(transcript);
  byId("clock").textContent = "0:00";
  await live.start();
  if (live.state === "on" && before) {
    notice("before", "This recording replaces the last one.", {
      kind: "info",
      dismiss: true,
      action: { label: "Copy its text", run: () => copy(before) },
    });
  }
}

live.addEventListener("state", ({ detail: { state } }) => {
  const labels = { starting: "Starting", on: "Stop", finishing: "Finishing", off: "Record" };
  byId("record-label").textContent = labels[state];
  byId("record").className = `record ${state}`;
  document.title = state === "on" ? `● ${names().title}` : names().title;
  if (state === "on") view.empty = "Listening. Speak when you like.";
  if (state === "off") view.empty = `${names().nothing}. Press Record and speak, or choose a recording.`;
});
live.addEventListener("key", wantKey);
live.addEventListener("line", ({ detail: { open } }) => {
  if (open) connection("ready", "Ready");
  else connection("gone", "Reconnecting");
});
live.addEventListener("ended", connect); // another model may be served by now

// --- files -----------------------------------------------------------------------------------------------------------

async function take(file) {
  if (live.state !== "off") {
    notice("file", "A recording is in progress: stop it first, then choose a file.");
    return;
  }
  if (refusedBySettings()) return;
  hideComparison();
  transcript.clear();
  view.empty = `Recognising ${file.name}.`;
  const drawn = sound.setFile(file);
  await recognise(file);
  await drawn;
}

/** Transcribes `file` and shows the text; `again` leaves the waveform as it is. */
async function recognise(file) {
  await work(async (signal) => {
    const { hearsCommands, listening, decoding, model } = settings;
    const onProgress = (share) =>
      progress(share < 1 ? `Sending ${file.name}: ${Math.round(100 * share)} %` : `Recognising ${file.name}`);
    const how = { signal, offset: sound.startS, onProgress };
    const { utterances, duration } = hearsCommands
      ? await detect(server, file, listening, { ...how, clipSeconds: model.facts.clip_seconds })
      : await transcribe(server, file, decoding, how);
    sound.setDuration(duration);
    transcript.set(utterances);
    byId("announcer").textContent = utterances.map(({ text }) => text).join(" ");
    view.empty = `${names().nothing} in this recording.`;
  });
}

/** One upload at a time; a newer one ends the older. */
async function work(job) {
  working?.abort();
  const mine = (working = new AbortController());
  clearNotice("file");
  try {
    await job(mine.signal);
  } catch (trouble) {
    if (trouble.code === "no_key") await wantKey();
    else if (trouble.code !== "cancelled") notice("file", trouble.message);
    if (trouble.code === "gone") await connect();
    view.empty = howToBegin();
  } finally {
    if (working === mine) {
      working = null;
      clearNotice("progress");
    }
  }
}

function progress(text) {
  notice("progress", text, { kind: "info", dismiss: false, action: { label: "Cancel", run: () => working?.abort() } });
}

async function again() {
  if (!haveSound() || refusedBySettings()) return;
  hideComparison();
  await recognise(sound.file);
}

async function compareDecoders() {
  if (!haveSound() || refusedBySettings()) return;
  await work(async (signal) => {
    progress("Decoding in three ways");
    const { decoding, model } = settings;
    const beam_width = decoding.beam_width || model?.facts.beam_width; // where greedy is set: what a beam would do
    showComparison(await compare(server, sound.file, { ...decoding, beam_width }, { signal }));
  });
}

function haveSound() {
  if (live.state !== "off") notice("file", "A recording is in progress: stop it first.");
  else if (!sound.file) notice("file", NOTHING_YET);
  else return true;
  return false;
}

function refusedBySettings() {
  const { fault } = settings;
  if (fault) notice("settings", `A setting cannot be used. ${fault}`);
  else clearNotice("settings");
  return Boolean(fault);
}

// --- to take along ---------------------------------------------------------------------------------------------------

function withText(act) {
  return () => {
    if (!transcript.utterances.length) notice("file", NO_TEXT_YET);
    else {
      clearNotice("file");
      act();
    }
  };
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give the clipboard only to secure addresses; the old way works on all.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

async function copyTranscript() {
  await copy(toText(transcript));
  byId("copy").textContent = "Copied";
  setTimeout(() => {
    byId("copy").textContent = "Copy";
  }, 2000);
}

const baseName = () => (sound.file?.name ?? "transcript").replace(/\.[^.]*$/, "");
const about = () => ({ model: settings.model?.id, recording: sound.file?.name });

// --- the buttons -----------------------------------------------------------------------------------------------------

byId("record").addEventListener("click", record);
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = ""; // the same file can be chosen again
  if (file) take(file);
});
byId("again").addEventListener("click", again);
byId("compare").addEventListener("click", compareDecoders);
byId("copy").addEventListener("click", withText(copyTranscript));
byId("save-text").addEventListener(
  "click",
  withText(() => download(`${baseName()}.txt`, toText(transcript), "text/plain")),
);
byId("save-srt").addEventListener(
  "click",
  withText(() => download(`${baseName()}.srt`, toSrt(transcript), "application/x-subrip")),
);
byId("save-json").addEventListener(
  "click",
  withText(() => download(`${baseName()}.json`, toJson(transcript, about()), "application/json")),
);
settings.addEventListener("change", () => {
  showModel();
  if (live.state === "on") notice("when", "Settings hold from the next recording on.", { kind: "info", dismiss: true });
});

// Beside the text there is room for the panels; above or below it they are in the way until somebody wants them.
if (matchMedia("(max-width: 60rem)").matches) {
  for (const panel of document.querySelectorAll(".panel")) panel.open = false;
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  byId("drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
addEventListener("drop", (event) => {
  byId("drop").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});

addEventListener("beforeunload", (event) => {
  if (live.state !== "off") event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && live.state === "off" && !working) connect();
});

connect();
