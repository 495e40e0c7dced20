// The page at `/studio`: projects, people, and the booth where one of them reads. The address says where one is, so
// that a reload resumes there: #/PROJECT/PERSON, or #/:listen/NAME of recordings to correct.

import { byId } from "../dom.js";
import { download } from "../exports.js";
import { askForKey } from "../key-dialog.js";
import { clearNotice, notice } from "../notices.js";
import { Server } from "../server.js";
import { Trouble } from "../trouble.js";
import { Benches } from "./benches.js";
import { Booth } from "./booth.js";
import { CheckView } from "./check.js";
import { DeskView } from "./desk.js";
import { Outbox } from "./outbox.js";
import { ProjectView } from "./project.js";
import { Projects } from "./projects.js";
import { TrainingView } from "./training.js";

const AGAIN_MS = 2000;
const CHECK = ":check"; // instead of a person, whose names have no colon
const LISTEN = ":listen"; // instead of a project
const server = new Server();
const outbox = new Outbox(server);
const projects = new Projects(server, (name) => (location.hash = `/${name}`));
const project = new ProjectView(server, (name, person) => (location.hash = `/${name}/${person}`));
const benches = new Benches(server, (name) => (location.hash = `/${LISTEN}/${name}`));
const desk = new DeskView(server);
const training = new TrainingView(server, () => project.save());
let booth = null;
let check = null;
let again = 0; // timer
let isFirst = true; // view of this page: the focus stays where the browser has it

/** Shows what the address names. */
async function look() {
  clearTimeout(again);
  const [name, person] = location.hash.slice(2).split("/");
  training.hide();
  check?.hide();
  desk.hide();
  await booth?.leave();
  try {
    if (!booth) await begin();
    await show(name, person);
    connection("ready", "Ready");
    clearNotice("server", "key");
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    if (trouble.code === "no_key") return void wantKey();
    if (trouble.code === "not_found" && name) return void (location.hash = person && name !== LISTEN ? `/${name}` : "/");
    connection("gone", "No server");
    notice("server", `${trouble.message} This page looks for it every few seconds.`, { dismiss: false });
    again = setTimeout(look, AGAIN_MS);
  }
}

/** What must be known first: the texts of the remarks, and what an earlier page has left to send. */
async function begin() {
  const facts = await server.get("v1/studio");
  booth = new Booth(server, outbox, facts);
  check = new CheckView(server, facts.remarks);
  await outbox.open();
  await outbox.flush();
}

async function show(name, person) {
  const path = `v1/studio/projects/${name}`;
  let view = person === CHECK ? "check" : person ? "booth" : name ? "project" : "projects";
  if (name === LISTEN) view = "desk";
  if (view === "projects") {
    projects.show((await server.get("v1/studio")).projects);
    benches.show((await server.get("v1/studio/listening")).listening);
  } else if (view === "desk") await desk.show(person);
  else {
    const found = await server.get(path);
    if (view === "project") project.show(found);
    else if (view === "check") await check.show(found);
    else booth.enter(found, await server.get(`${path}/people/${person}`));
  }
  for (const other of ["projects", "project", "check", "booth", "desk"]) byId(other).hidden = other !== view;
  if (view === "project") training.show();
  if (view === "booth") byId("record").focus();
  else if (!isFirst) byId(`${view}-title`).focus();
  isFirst = false;
}

async function wantKey() {
  connection("gone", "Key wanted");
  if (await askForKey(server)) {
    clearNotice("key");
    await look();
    await outbox.flush();
  } else {
    notice("key", "Without its key this server keeps no recordings.", {
      dismiss: false,
      action: { label: "Enter the key", run: wantKey },
    });
  }
}

function connection(kind, text) {
  byId("connection").className = `connection ${kind}`;
  byId("connection").textContent = text;
}

// --- what waits to be sent -------------------------------------------------------------------------------------------

outbox.addEventListener("trouble", ({ detail: { trouble } }) => {
  if (trouble.code === "no_key") wantKey();
  else if (trouble.code === "gone") connection("gone", "No server");
  else notice("sending", trouble.message);
});
outbox.addEventListener("sent", () => {
  connection("ready", "Ready");
  clearNotice("sending");
});
outbox.addEventListener("change", () => {
  const [refused] = outbox.refused;
  const waiting = outbox.takes.length - outbox.refused.length;
  if (waiting) {
    const where = outbox.isKept
      ? "kept in this browser, also when the page is closed"
      : "kept in this tab: do not close it";
    notice("waiting", `${waiting} ${waiting === 1 ? "take waits" : "takes wait"} to be sent, ${where}.`, { kind: "info" });
  } else clearNotice("waiting");
  if (refused) {
    const [take, trouble] = refused;
    notice("refused", `The service does not take one recording: ${trouble.message}. You may save it as a file.`, {
      dismiss: false,
      action: {
        label: "Save it and let it go",
        run: () => {
          download(`${take.project}-${take.person}-${take.prompt + 1}.wav`, take.sound, "audio/wav");
          outbox.discard(take.id);
        },
      },
    });
  } else clearNotice("refused");
});

addEventListener("hashchange", () => {
  if (/^(#\/.*)?$/.test(location.hash)) look(); // the others are places on the page
});
look();
