// What the server says -> utterances, {text, words, alternatives, confidence, start, end} with words {text, start, end,
// confidence}. Times are seconds from the start of the recording, which lies `offset` before that of session or file.

/** A `final` of /v1/stream. */
export function utteranceOf(final, offset) {
  return {
    text: final.text,
    words: wordsOf(final.words, offset),
    alternatives: (final.alternatives ?? []).map(({ text, confidence }) => ({ text, confidence })),
    confidence: final.confidence,
    start: final.start + offset,
    end: final.end + offset,
  };
}

/** A command, {label, time, score}: the score is that of the `clipSeconds` before its time. */
export function utteranceOfCommand({ label, time, score }, clipSeconds, offset) {
  const [start, end] = [Math.max(0, time - clipSeconds) + offset, time + offset];
  return {
    text: label,
    words: [{ text: label, start, end, confidence: score }],
    alternatives: [],
    confidence: score,
    start,
    end,
  };
}

/** verbose_json of /v1/audio/transcriptions: an utterance for each segment that has text. */
export function utterancesOf(answer, offset) {
  const words = wordsOf(answer.words, offset);
  let next = 0;
  return answer.segments
    .map((segment, index) => {
      const until = (answer.segments[index + 1]?.start ?? Infinity) + offset;
      const own = [];
      while (next < words.length && words[next].start < until) own.push(words[next++]);
      return {
        text: segment.text.trim(),
        words: own,
        alternatives: answer.alternatives?.[index] ?? [],
        start: segment.start + offset,
        end: segment.end + offset,
      };
    })
    .filter(({ text }) => text);
}

function wordsOf(words, offset) {
  return (words ?? []).map(({ word, start, end, confidence }) => ({
    text: word,
    start: start + offset,
    end: end + offset,
    confidence,
  }));
}
