// Colours of a map: blue above 0, red below, by the root of the value, so that weak heads show too;
// what has no sign goes from the ground to green. As in the page's figures.

import { scaleLinear } from "d3-scale";

const LIGHT = { red: ["#7f0f1f", "#d6604d"], blue: ["#4393c3", "#0b3c7a"], green: ["#7bccc4", "#08589e"], ground: "#f1f3f6" };
const DARK = { red: ["#ff8f7d", "#a63c3c"], blue: ["#3a7ab8", "#9fd0ff"], green: ["#3d7f8f", "#a6ecd9"], ground: "#252d3b" };

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// The colour of a value between −largest and largest.
export function colours(largest, signed) {
  const { red, blue, green, ground } = isDark() ? DARK : LIGHT;
  const scale = signed
    ? scaleLinear([-1, -0.5, 0, 0.5, 1], [red[0], red[1], ground, blue[0], blue[1]])
    : scaleLinear([0, 0.5, 1], [ground, ...green]);
  return (value) => {
    if (!(largest > 0)) return ground;
    const share = Math.min(1, Math.abs(value) / largest);
    return scale.clamp(true)(Math.sign(value) * Math.sqrt(share));
  };
}

// Black or white, whichever is read better on a colour.
export function inkOn(colour) {
  const parts = (/^#/.test(colour) ? colour.slice(1).match(/../g).map((part) => parseInt(part, 16)) : colour.match(/[\d.]+/g).map(Number))
    .slice(0, 3)
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#000000" : "#ffffff";
}
