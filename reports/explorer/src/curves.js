// f − f(0) and g of a head, a line for each pair, beside each other for the directions.

import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { line } from "d3-shape";
import { el, svg } from "./dom.js";
import { shown, shownShort } from "./numbers.js";

const WIDTH = 230;
const HEIGHT = 124;
const MARGIN = { top: 8, right: 8, bottom: 18, left: 40 };

// The lines of a kind ("f" or "g") in a direction: the end points of f are exact.
function linesOf(study, kind, direction, place) {
  const alphas = Array.from(study.alphas);
  return study.curves(kind, direction, place).map(([pair, values]) => {
    const points = alphas.map((alpha, node) => [alpha, values[node]]);
    if (kind === "f") {
      const last = study.byKey.has("ap") ? study.value("ap", direction, pair, place) : NaN;
      if (alphas[0] > 0) points.unshift([0, 0]);
      if (alphas[alphas.length - 1] < 1 && !Number.isNaN(last)) points.push([1, last]);
    } else if (alphas[0] > 0 && study.byKey.has("atp")) {
      const first = study.value("atp", direction, pair, place);
      if (!Number.isNaN(first)) points.unshift([0, first]);
    }
    return { pair, points };
  });
}

export function curvePlots(study, place, chosen) {
  const drawn = study.header.curves.pairs;
  if (!drawn.length) {
    return [el("p", { class: "note" }, "This study keeps no curves (setting curves.keep).")];
  }
  const plots = [];
  const ends = [];
  for (const [kind, name] of [["f", "f(α) − f(0)"], ["g", "g(α)"]]) {
    const sets = study.directions.map((_, direction) => linesOf(study, kind, direction, place));
    if (!sets.some((set) => set.length)) continue;
    const all = sets.flatMap((set) => set.flatMap(({ points }) => points.map(([, value]) => value)));
    const low = Math.min(0, ...all);
    const high = Math.max(0, ...all);
    const margin = (high - low || 1e-6) * 0.06;
    for (const [direction, set] of sets.entries()) {
      plots.push(plot(set, [low - margin, high + margin], name, study, direction, place, chosen));
    }
  }
  for (const [direction, name] of study.directions.entries()) {
    if (!study.byKey.has("ap")) break;
    const value = chosen === null ? study.mean("ap", direction, place) : study.value("ap", direction, chosen, place);
    if (!Number.isNaN(value)) ends.push(`${name} ${shown(value)}`);
  }
  const missing = chosen !== null && !drawn.includes(chosen);
  return [
    el("div", { class: "explorer-plots", "data-directions": study.directions.length }, plots),
    el(
      "p",
      { class: "note explorer-curve-note" },
      `f(1) − f(0)${chosen === null ? " on average" : ` on pair ${chosen}`}: ${ends.join(", ")}.`,
      missing ? ` The curve of pair ${chosen} is not on this page; curves.safetensors has it.` : "",
      ` Lines: ${drawn.length} of ${study.header.pairs_in_all} pairs.`,
      ` f is drawn to within ${shown(study.curveError(place))}.`,
    ),
  ];
}

function plot(set, domain, name, study, direction, place, chosen) {
  const x = scaleLinear([0, 1], [MARGIN.left, WIDTH - MARGIN.right]);
  const y = scaleLinear(domain, [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const draw = line(([alpha]) => x(alpha), ([, value]) => y(value)).digits(1);
  const under = svg("g", { class: "explorer-axis", transform: `translate(0,${HEIGHT - MARGIN.bottom})` });
  select(under).call(axisBottom(x).tickValues([0, 0.5, 1]).tickFormat(String).tickSizeOuter(0).tickSize(3));
  const left = svg("g", { class: "explorer-axis", transform: `translate(${MARGIN.left},0)` });
  select(left).call(axisLeft(y).ticks(4).tickFormat(shownShort).tickSizeOuter(0).tickSize(3));
  const marked = set.find(({ pair }) => pair === chosen);
  const rest = set.filter((one) => one !== marked);
  const side = study.directions[direction];
  return el(
    "figure",
    { class: "explorer-plot" },
    el("figcaption", {}, `${name}, ${side}`),
    svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-label": `${name} of head ${study.name(place)}, ${side}, on ${set.length} pairs`,
        class: `explorer-curves ${side}${marked ? " one" : ""}`,
      },
      svg("line", { x1: x(0), x2: x(1), y1: y(0), y2: y(0), class: "explorer-zero" }),
      under,
      left,
      svg("path", { d: rest.map(({ points }) => draw(points)).join(""), class: "explorer-lines" }),
      marked ? svg("path", { d: draw(marked.points), class: "explorer-line" }) : null,
    ),
  );
}
