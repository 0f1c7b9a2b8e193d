// A measure of one head on every pair: a tick a pair, the interval of their mean, the mean.

import { scaleLinear } from "d3-scale";
import { svg } from "./dom.js";

const WIDTH = 130;
const HEIGHT = 16;

// The ends that the strips of a measure share in all directions: 0 and every value and interval.
export function stripDomain(study, key, place) {
  let low = 0;
  let high = 0;
  for (const direction of study.directions.keys()) {
    const ends = [
      ...study.values(key, direction, place).map(([, value]) => value),
      ...study.interval(key, direction, place),
      ...(study.quantiles(key, direction, place) ?? []),
    ];
    for (const value of ends) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return high > low ? [low, high] : null;
}

export function strip(study, key, direction, place, domain, chosen) {
  const values = study.values(key, direction, place);
  if (!values.length || !domain) return null;
  const x = scaleLinear(domain, [3, WIDTH - 3]);
  const [low, high] = study.interval(key, direction, place);
  const quantiles = study.quantiles(key, direction, place);
  const middle = study.mean(key, direction, place);
  const own = values.find(([pair]) => pair === chosen);
  const tick = (value) => `M${x(value).toFixed(1)},3v10`;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: `explorer-strip ${study.directions[direction]}`, "aria-hidden": "true" },
    svg("line", { x1: x(0), x2: x(0), y1: 0, y2: HEIGHT, class: "explorer-zero" }),
    quantiles
      ? svg("rect", { x: x(quantiles[2]), width: Math.max(1, x(quantiles[4]) - x(quantiles[2])), y: 4, height: 8, class: "explorer-quartiles" })
      : null,
    svg("path", { d: values.map(([, value]) => tick(value)).join(""), class: "explorer-ticks" }),
    low <= high ? svg("line", { x1: x(low), x2: x(high), y1: 8, y2: 8, class: "explorer-interval" }) : null,
    svg("circle", { cx: x(middle), cy: 8, r: 3, class: "explorer-mean" }),
    own ? svg("path", { d: `M${x(own[1]).toFixed(1)},0v16`, class: "explorer-own" }) : null,
  );
}
