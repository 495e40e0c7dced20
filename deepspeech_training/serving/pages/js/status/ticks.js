// The numbers along an axis.

/** At most about `count` round numbers from `least` to `most`, both of them within: [0, 0.5, 1]. */
export function ticks(least, most, count, { whole = false } = {}) {
  if (!(most > least)) return [least];
  const rough = (most - least) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((found) => found >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let i = Math.ceil(least / step - 1e-9); i * step <= most + step * 1e-9; i++) found.push(i * step);
  return found;
}

/** The powers of ten from `least` to `most`, with their doubles and fives where there are few. */
export function logTicks(least, most) {
  const found = [];
  const decades = Math.log10(most / least);
  const factors = decades > 3 ? [1] : decades > 1 ? [1, 3] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= least * 0.999 && value <= most * 1.001) found.push(value);
    }
  }
  return found;
}

/** 0.00032 -> "3.2e-4", 0.05 -> "0.05", 1234.5 -> "1,235": three digits that count. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.001) return value.toExponential(1).replace(".0e", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
