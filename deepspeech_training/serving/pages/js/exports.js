// The transcript to take along: text, SubRip and JSON. Cues are cut as by `deepspeech transcribe --format srt`.

import { subtitleClock } from "./times.js";

const LONGEST_S = 6;
const MOST_CHARACTERS = 84; // two lines of 42
const LONGEST_PAUSE_S = 0.8;
const LINGERS_S = 0.5;

export const toText = (transcript) => transcript.utterances.map(({ text }) => `${text}\n`).join("");

export function toJson(transcript, facts) {
  return `${JSON.stringify({ ...facts, utterances: transcript.utterances, lost: transcript.lost }, null, 2)}\n`;
}

export function toSrt(transcript) {
  return cuesOf(transcript)
    .map(({ start, end, text }, index) => `${index + 1}\n${subtitleClock(start)} --> ${subtitleClock(end)}\n${text}\n`)
    .join("\n");
}

function cuesOf(transcript) {
  const groups = [];
  for (const { words, text, start, end } of transcript.utterances) {
    for (const word of words.length ? words : [{ text, start, end }]) {
      const last = groups.at(-1);
      if (last && fits(last, word)) last.push(word);
      else groups.push([word]);
    }
  }
  return groups.map((group, index) => {
    const next = groups[index + 1]?.[0].start ?? Infinity;
    const end = Math.max(Math.min(group.at(-1).end + LINGERS_S, next), group[0].start);
    return { start: group[0].start, end, text: group.map((word) => word.text).join(" ") };
  });
}

function fits(group, word) {
  const characters = group.reduce((sum, { text }) => sum + text.length + 1, 0) + word.text.length;
  return (
    characters <= MOST_CHARACTERS &&
    word.end - group[0].start <= LONGEST_S &&
    word.start - group.at(-1).end < LONGEST_PAUSE_S
  );
}

/** Hands a text to the browser as a file. */
export function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
