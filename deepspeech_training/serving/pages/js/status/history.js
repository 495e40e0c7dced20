// The epochs of a run: kept here, so that each answer of the server brings the new ones alone.

import { known } from "./amounts.js";

export class History {
  #run = ""; // a run, begun at a time: another one has epochs of its own
  #epochs = new Map();

  /** The first epoch that the next answer is to bring: the last one again, as it may have been trained again. */
  get from() {
    return Math.max(0, ...this.#epochs.keys());
  }

  /** Takes in an answer; false where epochs are missing, which another answer, of all, brings. */
  take(run) {
    const name = run ? `${run.folder} ${run.started?.time}` : "";
    const asked = this.from;
    const isNew = name !== this.#run;
    if (isNew) this.#epochs.clear();
    this.#run = name;
    for (const epoch of run?.history ?? []) this.#epochs.set(epoch.epoch, epoch);
    return !isNew || asked === 0;
  }

  /** Every epoch, the first one first. */
  get epochs() {
    return [...this.#epochs.values()].sort((a, b) => a.epoch - b.epoch);
  }
}

/** A figure of an epoch over all sets of a kind together ("dev" or "metrics"), weighted by their clips; or null. */
export function over(epoch, name, kind = "dev") {
  const sets = (epoch[kind] ?? []).filter((set) => known(set[name]) && set.clips);
  const clips = sets.reduce((sum, set) => sum + set.clips, 0);
  return clips ? sets.reduce((sum, set) => sum + (set[name] * set.clips) / clips, 0) : null;
}

/** {value, unit} of the speed of a step or an epoch. */
export function speedOf(entry) {
  const { audio_seconds_per_second: audio, speed, unit } = entry ?? {};
  return known(audio) ? { value: audio, unit: "audio-s/s" } : { value: speed ?? null, unit: unit ?? "" };
}
