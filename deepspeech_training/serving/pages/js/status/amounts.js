// Amounts as people read them.

export const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 8.2e9 -> "8.2 GB" */
export function bytes(amount) {
  if (!known(amount)) return "unknown";
  for (const [unit, factor] of [
    ["TB", 1e12],
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ]) {
    if (amount >= factor) return `${(amount / factor).toFixed(1)} ${unit}`;
  }
  return `${amount} B`;
}

/** 42.4 -> "42 s", 135 -> "2 min 15 s", 7322 -> "2 h 2 min", 200000 -> "2 days 7 h" */
export function duration(seconds) {
  if (!known(seconds)) return "unknown";
  const whole = Math.round(seconds);
  if (whole < 60) return `${seconds < 9.95 ? Number(seconds.toFixed(1)) : whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  const days = Math.floor(whole / 86400);
  return `${days} ${days === 1 ? "day" : "days"} ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Of a share from 0 to 1: "33 %", and "0.4 %" where it is small. */
export const percent = (share) =>
  known(share) ? `${share > 0 && share < 0.0995 ? (100 * share).toFixed(1) : Math.round(100 * share)} %` : "unknown";

export const count = (number) => (known(number) ? number.toLocaleString("en-US") : "unknown");

/** Of seconds since 1970: "14:03:21", with the date where it is another day. */
export function clock(time) {
  const when = new Date(1000 * time);
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = when.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return when.toLocaleString("en-GB", { ...day, ...options });
}

export function date(time) {
  const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Date(1000 * time).toLocaleString("en-GB", options);
}
