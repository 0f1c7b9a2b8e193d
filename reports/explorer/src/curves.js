// f − f(0) and g of a head, a line for each pair, beside each other for the directions.

import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { line } from "d3-shape";
import { el, replace, svg } from "./dom.js";
import { shown, shownShort } from "./numbers.js";

const WIDTH = 230;
const HEIGHT = 124;
const MARGIN = { top: 8, right: 8, bottom: 18, left: 40 };
const MOST_PLAIN = 64;
const KINDS = [["f", "f(α) − f(0)"], ["g", "g(α)"]];

// Points of the lines of a kind in a direction: the end points of f are exact. Of a mean over some of a
// study's pairs there is no end to be had.
function linesOf(study, kind, direction, place, set) {
  const alphas = Array.from(study.alphas);
  const { pairs, whole } = study.header.curves;
  return set.map(([pair, values]) => {
    const points = alphas.map((alpha, node) => [alpha, values[node]]);
    const row = pairs.indexOf(pair);
    if (kind === "f") {
      const known = study.byKey.has("ap") && (row < 0 || whole[row]);
      const last = known ? study.value("ap", direction, pair, place) : NaN;
      if (alphas[0] > 0) points.unshift([0, 0]);
      if (alphas[alphas.length - 1] < 1 && !Number.isNaN(last)) points.push([1, last]);
    } else if (alphas[0] > 0 && study.byKey.has("atp")) {
      const first = study.value("atp", direction, pair, place);
      if (!Number.isNaN(first)) points.unshift([0, first]);
    }
    return { pair, points };
  });
}

export function curvePlots(study, place, chosen, pinned) {
  const drawn = study.header.curves.pairs;
  // Of the file all pairs' for a card that stays, a chosen pair's for any.
  const fromFile = study.file && (chosen === null ? pinned : !drawn.includes(chosen));
  if (!drawn.length && !study.file) {
    return [
      el(
        "p",
        { class: "note" },
        study.elsewhere > 0
          ? "No curve is on this page; curves.safetensors beside it has them."
          : "This study keeps no curves (setting curves.keep).",
      ),
    ];
  }
  const sets = {};
  for (const [kind] of KINDS) sets[kind] = study.directions.map((_, direction) => study.drawnCurves(kind, direction, place));
  const box = el("div", {}, contents(study, place, chosen, sets, false));
  if (fromFile) {
    study.file.curves(place, chosen).then((found) => {
      if (chosen !== null) {
        for (const [kind] of KINDS) sets[kind] = sets[kind].map((set, side) => [...set, ...(found[kind]?.[side] ?? [])]);
      }
      replace(box, contents(study, place, chosen, chosen === null ? found : sets, true));
    });
  }
  return [box];
}

function contents(study, place, chosen, sets, fromFile) {
  const plots = [];
  let count = 0;
  for (const [kind, name] of KINDS) {
    const lines = study.directions.map((_, direction) => linesOf(study, kind, direction, place, sets[kind]?.[direction] ?? []));
    if (!lines.some((set) => set.length)) continue;
    count = Math.max(count, ...lines.map((set) => set.length));
    let [low, high] = [0, 0];
    for (const { points } of lines.flat()) {
      for (const [, value] of points) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    const margin = (high - low || 1e-6) * 0.06;
    for (const [direction, set] of lines.entries()) {
      plots.push(plot(set, [low - margin, high + margin], name, study, direction, place, chosen));
    }
  }
  return [
    el("div", { class: "explorer-plots", "data-directions": study.directions.length }, plots),
    remark(study, place, chosen, count, fromFile),
  ];
}

function remark(study, place, chosen, count, fromFile) {
  const { pairs, over } = study.header.curves;
  const ends = [];
  for (const [direction, name] of study.directions.entries()) {
    if (!study.byKey.has("ap")) break;
    const value = chosen === null ? study.mean("ap", direction, place) : study.value("ap", direction, chosen, place);
    if (!Number.isNaN(value)) ends.push(`${name} ${shown(value)}`);
  }
  const all = study.counted(study.header.pairs_in_all);
  const missing = chosen !== null && !pairs.includes(chosen) && !fromFile;
  return el(
    "p",
    { class: "note explorer-curve-note" },
    `f(1) − f(0)${chosen === null ? " on average" : ` on ${study.pairName(chosen)}`}: ${ends.join(", ")}.`,
    missing ? ` The curve of ${study.pairName(chosen)} is not on this page; curves.safetensors has it.` : "",
    study.ofStudies
      ? ` A line a study, the mean over its pairs (${pairs.map((pair, row) => `${study.pairName(pair)} ${over[row]}`).join(", ")}).`
      : ` Lines: ${count} of ${all}.`,
    !fromFile ? ` f is drawn to within ${shown(study.curveError(place))}, g to within ${shown(study.curveError(place, "g"))}.` : "",
    fromFile ? (chosen === null ? " All as curves.safetensors has them." : ` ${study.pairName(chosen)} as curves.safetensors has it.`) : "",
  );
}

// One path; of very many lines one each, so faint that where most are is dark.
function lines(set, draw) {
  if (set.length <= MOST_PLAIN) return svg("path", { d: set.map(({ points }) => draw(points)).join(""), class: "explorer-lines" });
  const faint = { "stroke-opacity": String(Math.max(0.04, 12 / set.length)) };
  return svg("g", { class: "explorer-lines" }, set.map(({ points }) => svg("path", { d: draw(points), style: faint })));
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
        "aria-label": `${name} of head ${study.name(place)}, ${side}, on ${study.counted(set.length)}`,
        class: `explorer-curves ${side}${marked ? " one" : ""}`,
      },
      svg("line", { x1: x(0), x2: x(1), y1: y(0), y2: y(0), class: "explorer-zero" }),
      under,
      left,
      lines(rest, draw),
      marked ? svg("path", { d: draw(marked.points), class: "explorer-line" }) : null,
    ),
  );
}
