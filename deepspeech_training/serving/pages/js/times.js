// Seconds as people read them.

/** 75.4 -> "1:15"; with `digits` 1 -> "1:15.4". */
export function clock(seconds, digits = 0) {
  const unit = 10 ** digits;
  const whole = Math.floor(Math.max(0, seconds) * unit + 1e-6) / unit;
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** 3725.0625 -> "01:02:05,062", as SubRip writes it. */
export function subtitleClock(seconds) {
  const ms = Math.round(Math.max(0, seconds) * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, whole] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${two(hours)}:${two(minutes)}:${two(whole)},${String(ms % 1000).padStart(3, "0")}`;
}

/** "from 0:12.0 to 0:15.5" */
export const interval = (start, end) => `from ${clock(start, 1)} to ${clock(end, 1)}`;

export const percent = (share) => `${Math.round(100 * share)} %`;
