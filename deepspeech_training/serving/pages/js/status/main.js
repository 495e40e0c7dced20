// The page at `/status`: asks the server how it is, again and again, and shows it.

import { byId, element } from "../dom.js";
import { askForKey } from "../key-dialog.js";
import { clearNotice, notice } from "../notices.js";
import { Server } from "../server.js";
import { showData, showModels, showRejected, showRun } from "./about.js";
import { Clips } from "./clips.js";
import { Curves } from "./curves.js";
import { History } from "./history.js";
import { showLog } from "./log.js";
import { showMachine } from "./machine.js";
import { showDiagnosis, showNow } from "./now.js";
import { Sessions } from "./sessions.js";

const EVERY_MS = 2000;
const server = new Server();
const history = new History();
const curves = new Curves();
const clips = new Clips(server);
const sessions = new Sessions(server);
let next = 0; // timer
let asking = false;
let asked = false; // whether the server has a studio
let seen = ""; // of what is asked for only where it has changed

/** Asks once and shows the answer; the next time comes by itself while the page can be seen. */
async function look() {
  clearTimeout(next);
  if (asking || document.hidden) return;
  asking = true;
  try {
    await ask();
    connection("ready", "Live");
    clearNotice("server", "key");
    next = setTimeout(look, EVERY_MS);
  } catch (trouble) {
    if (trouble.code === "no_key") return void wantKey();
    seen = ""; // what was not answered is asked for again
    if (trouble.code === undefined) {
      next = setTimeout(look, EVERY_MS);
      throw trouble; // a mistake of this page
    }
    connection("gone", "No server");
    notice("server", `${trouble.message} This page looks for it every few seconds.`, { dismiss: false });
    next = setTimeout(look, EVERY_MS);
  } finally {
    asking = false;
  }
}

async function ask() {
  const run = byId("choice").value;
  if (!asked) {
    const config = await server.get("v1/config");
    asked = true;
    byId("studio-link").hidden = !config.protocols.includes("/v1/studio");
  }
  let status = await server.get(`v1/status?${new URLSearchParams({ run, epochs_from: history.from })}`);
  const query = new URLSearchParams({ run });
  if (!history.take(status.run)) {
    status = await server.get(`v1/status?${query}`);
    history.take(status.run);
  }
  show(status);
  if (isNews(status)) {
    clips.show(await server.get(`v1/status/clips?${query}`), run);
    showRejected(await server.get(`v1/status/rejected?${query}`));
    await sessions.look();
  }
}

/** Whether a validation has ended since the last time, or another phase has begun: then there may be other clips. */
function isNews({ phase, run }) {
  const state = `${phase} ${run?.folder} ${run?.started?.time} ${history.epochs.at(-1)?.time}`;
  const news = state !== seen;
  seen = state;
  return news;
}

function show(status) {
  const { run } = status;
  const { epochs } = history;
  showChoice(status.runs);
  showNow(status, epochs);
  showDiagnosis(run?.outcome);
  curves.show(epochs, run);
  showModels(status.models, status.served_so_far, status.drift);
  showMachine(status.machine, run?.gpus, run?.started?.devices ?? status.device);
  showData(run?.data?.sets ?? run?.started?.sets);
  showRun(run);
  showLog(status.log);
  byId("version").textContent = `deepspeech ${status.version}`;
}

/** The runs of the volume, the newest first; nothing to choose where there is one. */
function showChoice(names) {
  const select = byId("choice");
  byId("choice-row").hidden = names.length < 2;
  const wanted = ["", ...names];
  if (wanted.join("\n") === [...select.options].map(({ value }) => value).join("\n")) return;
  const { value } = select;
  select.replaceChildren(...wanted.map((name) => element("option", { value: name }, name || "the training in hand or the last one")));
  select.value = wanted.includes(value) ? value : "";
}

async function wantKey() {
  connection("gone", "Key wanted");
  if (await askForKey(server)) {
    clearNotice("key");
    await look();
  } else {
    notice("key", "Without its key this server does not tell how it is.", {
      dismiss: false,
      action: { label: "Enter the key", run: wantKey },
    });
  }
}

function connection(kind, text) {
  byId("connection").className = `connection ${kind}`;
  byId("connection").textContent = text;
}

// Beside the curves there is room for the panels; below them they are long.
if (matchMedia("(max-width: 60rem)").matches) {
  for (const panel of document.querySelectorAll("aside .panel")) panel.open = panel.querySelector("#machine") !== null;
}
byId("choice").addEventListener("change", look);
document.addEventListener("visibilitychange", look);
look();
