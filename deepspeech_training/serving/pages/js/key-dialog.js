// Asks for the key of the server.

import { byId } from "./dom.js";

/** Resolves to true when a key was given, false for "not now". */
export function askForKey(server) {
  const dialog = byId("key-dialog");
  if (dialog.open) return Promise.resolve(false);
  byId("key").value = "";
  byId("key-why").textContent = server.key
    ? "The key that was given is not the one of this server. A new one is kept for this tab only, until you close it."
    : "Whoever runs it has set one. It is kept for this tab only, until you close it.";
  dialog.returnValue = ""; // of the last time
  dialog.showModal();
  byId("key-cancel").onclick = () => dialog.close();
  byId("key-form").onsubmit = () => {
    server.key = byId("key").value.trim();
  };
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" && Boolean(server.key)), {
      once: true,
    });
  });
}
