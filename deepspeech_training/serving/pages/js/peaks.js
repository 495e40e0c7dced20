// Samples -> the highest level of each stretch: what a waveform draws, a hundredth of the sound.

export const PEAKS_PER_S = 200;

/** Float32Array of the largest magnitude in each 5 ms. */
export function peaksOf(samples, sampleRate) {
  const width = sampleRate / PEAKS_PER_S;
  const peaks = new Float32Array(Math.ceil(samples.length / width));
  for (let i = 0; i < peaks.length; i++) {
    let peak = 0;
    const end = Math.min(samples.length, Math.floor((i + 1) * width));
    for (let at = Math.floor(i * width); at < end; at++) peak = Math.max(peak, Math.abs(samples[at]));
    peaks[i] = peak;
  }
  return peaks;
}

const MOST_BYTES = 64 * 2 ** 20;
const RATE = 16000;

/** {peaks, seconds} of an audio file, or null where this browser cannot decode it (or should not: hours of sound). */
export async function peaksOfFile(file) {
  if (file.size > MOST_BYTES) return null;
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const sound = await context.decodeAudioData(await file.arrayBuffer());
    return { peaks: peaksOf(sound.getChannelData(0), sound.sampleRate), seconds: sound.duration };
  } catch {
    return null;
  }
}
