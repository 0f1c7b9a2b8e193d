// Numbers as the page writes them, with an ASCII minus and without spaces between digits, so that what is
// copied is a number to a program, too; and as they are copied in full.

import { format } from "d3-format";

export const NOTHING = "\u2014";

const fixed = format(".3f");
// Exponents of two digits, as the rest of the page has them.
const power = (value) => format(".1e")(value).replace(/e([+-])(\d)$/, "e$10$2");

// For reading: fixed point, or powers of ten where that would show only 0.
export function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  return ascii(value !== 0 && Math.abs(value) < 0.0005 ? power(value) : fixed(value));
}

export function shownShort(value) {
  if (Number.isNaN(value)) return NOTHING;
  const size = Math.abs(value);
  const text = size !== 0 && (size < 0.01 || size >= 10000) ? format(".1~e")(value) : format(".2~f")(value);
  return ascii(text);
}

// d3 writes a true minus.
function ascii(text) {
  return text.replaceAll("\u2212", "-");
}

// For copying: the shortest decimal that is this number again, of float32 numbers as float32.
export function exact(value) {
  if (Number.isNaN(value)) return "";
  if (Math.fround(value) === value) {
    for (let digits = 6; digits < 10; digits += 1) {
      const text = String(Number(value.toPrecision(digits)));
      if (Math.fround(Number(text)) === value) return text;
    }
  }
  return String(value);
}

// What a reader's program can read, of prose that has a true minus or thin spaces between digits.
export function plain(text) {
  return text.replace(/\u2212(?=\d)/g, "-").replace(/(\d)[\u202f\u2009\u00a0](?=\d)/g, "$1");
}
