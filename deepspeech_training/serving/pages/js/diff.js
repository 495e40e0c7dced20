// Where two readings of the same sound differ, word by word.

/**
 * Longest common subsequence of words: [{word, same}] of `other`, compared with `reference`.
 * Readings are short; very long ones are compared by position, which is honest and fast.
 */
export function differences(reference, other) {
  const a = reference.split(/\s+/).filter(Boolean);
  const b = other.split(/\s+/).filter(Boolean);
  if (a.length * b.length > 4e6) return b.map((word, i) => ({ word, same: word === a[i] }));
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const found = [];
  let i = 0;
  for (let j = 0; j < b.length; j++) {
    while (i < a.length && a[i] !== b[j] && lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    const same = i < a.length && a[i] === b[j];
    if (same) i++;
    found.push({ word: b[j], same });
  }
  return found;
}
