// Two measures of all heads against each other, in the view of the map.

import { extent } from "d3-array";
import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { el, replace, svg } from "./dom.js";
import { shownShort } from "./numbers.js";

const WIDTH = 330;
const HEIGHT = 250;
const MARGIN = { top: 10, right: 12, bottom: 38, left: 46 };

export class Scatter {
  constructor(study, calls) {
    this.study = study;
    this.calls = calls;
    this.points = [];
    this.picture = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      class: "explorer-scatter-picture",
      on: {
        pointermove: (event) => calls.point(this.#nearest(event)),
        pointerleave: () => calls.point(null),
        click: (event) => {
          const place = this.#nearest(event);
          if (place !== null) calls.pin(place);
        },
      },
    });
    this.node = el("figure", { class: "explorer-scatter" }, this.picture);
  }

  draw(x, y, labels, description) {
    const xScale = scaleLinear(padded(x), [MARGIN.left, WIDTH - MARGIN.right]);
    const yScale = scaleLinear(padded(y), [HEIGHT - MARGIN.bottom, MARGIN.top]);
    this.points = [];
    const dots = svg("g");
    for (let place = 0; place < this.study.size; place += 1) {
      if (Number.isNaN(x[place]) || Number.isNaN(y[place])) continue;
      const point = { place, x: xScale(x[place]), y: yScale(y[place]) };
      point.node = svg("circle", { cx: point.x.toFixed(1), cy: point.y.toFixed(1), r: 3, class: "explorer-dot" });
      this.points.push(point);
      dots.append(point.node);
    }
    const under = svg("g", { class: "explorer-axis", transform: `translate(0,${HEIGHT - MARGIN.bottom})` });
    select(under).call(axisBottom(xScale).ticks(5).tickFormat(shownShort).tickSizeOuter(0));
    const left = svg("g", { class: "explorer-axis", transform: `translate(${MARGIN.left},0)` });
    select(left).call(axisLeft(yScale).ticks(5).tickFormat(shownShort).tickSizeOuter(0));
    replace(
      this.picture,
      zero(xScale, yScale),
      under,
      left,
      svg("text", { x: (MARGIN.left + WIDTH - MARGIN.right) / 2, y: HEIGHT - 5, class: "explorer-axis-name", "text-anchor": "middle" }, labels[0]),
      svg(
        "text",
        { transform: `translate(11,${(HEIGHT - MARGIN.bottom + MARGIN.top) / 2}) rotate(-90)`, class: "explorer-axis-name", "text-anchor": "middle" },
        labels[1],
      ),
      dots,
    );
    this.picture.setAttribute("aria-label", `${description}; ${this.points.length} heads`);
    this.front = svg("g");
    this.picture.append(this.front);
  }

  mark(current, pinned) {
    const marked = [];
    for (const point of this.points) {
      const isPinned = pinned.includes(point.place);
      const isCurrent = point.place === current;
      point.node.classList.toggle("pinned", isPinned);
      point.node.classList.toggle("current", isCurrent);
      if (isPinned || isCurrent) {
        const left = point.x > WIDTH - 60;
        marked.push(
          svg("circle", { cx: point.x, cy: point.y, r: 4.5, class: isCurrent ? "explorer-ring current" : "explorer-ring" }),
          svg(
            "text",
            { x: point.x + (left ? -7 : 7), y: point.y - 5, class: "explorer-dot-name", "text-anchor": left ? "end" : "start" },
            this.study.name(point.place),
          ),
        );
      }
    }
    replace(this.front, marked);
  }

  #nearest(event) {
    const box = this.picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const y = ((event.clientY - box.top) / box.height) * HEIGHT;
    let best = null;
    let least = 20 * 20;
    for (const point of this.points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [best, least] = [point.place, distance];
    }
    return best;
  }
}

function padded(values) {
  const [low, high] = extent(values.filter((value) => !Number.isNaN(value)));
  if (low === undefined) return [0, 1];
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - margin, high + margin];
}

function zero(xScale, yScale) {
  const lines = [];
  const [left, right] = xScale.range();
  const [bottom, top] = yScale.range();
  const x = xScale(0);
  const y = yScale(0);
  if (x > left && x < right) lines.push(svg("line", { x1: x, x2: x, y1: bottom, y2: top, class: "explorer-zero" }));
  if (y < bottom && y > top) lines.push(svg("line", { x1: left, x2: right, y1: y, y2: y, class: "explorer-zero" }));
  return lines;
}

