// The map: a grid of all heads, a row for each layer. The pointer shows, a click or Enter pins, arrows
// move. One element of the page has the focus, the grid; which head it is on it says by
// aria-activedescendant.

import { colours } from "./colours.js";
import { el, replace } from "./dom.js";

export class HeadMap {
  constructor(study, calls) {
    this.study = study;
    this.cells = new Array(study.size);
    const rows = study.layerList.map((layer) => {
      const cells = [];
      for (let head = 0; head < study.width; head += 1) {
        const place = study.place(layer, head);
        if (place === undefined) {
          cells.push(el("div", { role: "gridcell", class: "explorer-nocell", "aria-label": `no head ${layer}.${head}` }));
        } else {
          this.cells[place] = el("div", {
            role: "gridcell",
            class: "explorer-cell",
            id: `explorer-cell-${layer}-${head}`,
            "data-place": place,
          });
          cells.push(this.cells[place]);
        }
      }
      return el(
        "div",
        { role: "row", class: "explorer-row" },
        el("div", { role: "rowheader", class: "explorer-layer" }, String(layer)),
        cells,
      );
    });
    const numbers = Array.from({ length: study.width }, (_, head) =>
      el("div", { role: "columnheader", class: "explorer-number" }, String(head)),
    );
    const top = el(
      "div",
      { role: "row", class: "explorer-row" },
      el("div", { role: "columnheader", class: "explorer-layer" }, el("span", { class: "explorer-unseen" }, "layer")),
      numbers,
    );
    this.grid = el(
      "div",
      {
        role: "grid",
        tabindex: 0,
        class: "explorer-grid",
        "aria-label": "Map of all heads, a row for each layer",
        "aria-describedby": "explorer-keys",
        on: {
          pointermove: (event) => calls.point(placeOf(event)),
          pointerleave: () => calls.point(null),
          click: (event) => {
            const place = placeOf(event);
            if (place !== null) calls.pin(place);
          },
        },
      },
      top,
      rows,
    );
    this.grid.style.setProperty("--heads", study.width);
    this.grid.style.setProperty("--layers", study.layerList.length);
    this.legend = el("div", { class: "explorer-legend" });
    this.node = el("div", { class: "explorer-map" }, this.grid, this.legend);
  }

  // Colour every head by its shade, which is its value but where the view says otherwise (`ranks`).
  colour(view) {
    const { values, shades, largest, signed, ends, text } = view;
    const colour = colours(largest, signed);
    const floor = this.study.arrays.at_floor.data;
    for (let place = 0; place < this.study.size; place += 1) {
      const cell = this.cells[place];
      const value = values[place];
      const missing = Number.isNaN(value);
      cell.classList.toggle("missing", missing);
      cell.classList.toggle("floor", floor[place] === 1);
      if (missing) cell.style.removeProperty("background-color");
      else cell.style.setProperty("background-color", colour(shades[place]));
      cell.setAttribute("aria-label", `head ${this.study.name(place)}: ${missing ? "not measured" : text(value)}`);
    }
    const stops = signed ? [-1, -0.5625, -0.25, -0.0625, 0, 0.0625, 0.25, 0.5625, 1] : [0, 0.0625, 0.25, 0.5625, 1];
    const bar = el("div", { class: "explorer-bar", "aria-hidden": "true" });
    bar.style.setProperty(
      "background-image",
      `linear-gradient(to right, ${stops
        .map((stop, order) => `${colour(stop * largest)} ${(100 * order) / (stops.length - 1)}%`)
        .join(", ")})`,
    );
    replace(
      this.legend,
      bar,
      el(
        "div",
        { class: "explorer-ends" },
        ends.map((end) => el("span", {}, end)),
      ),
    );
  }

  mark(current, pinned) {
    for (const [place, cell] of this.cells.entries()) {
      cell.classList.toggle("current", place === current);
      cell.classList.toggle("pinned", pinned.includes(place));
      cell.setAttribute("aria-selected", String(pinned.includes(place)));
    }
    this.grid.setAttribute("aria-activedescendant", this.cells[current].id);
  }

  // The head beside another one; the same where there is none.
  beside(place, down, right) {
    const { study } = this;
    const layers = study.layerList;
    let layer = layers.indexOf(study.layers[place]) + down;
    let head = study.numbers[place] + right;
    while (layer >= 0 && layer < layers.length && head >= 0 && head < study.width) {
      const found = study.place(layers[layer], head);
      if (found !== undefined) return found;
      layer += down;
      head += right;
    }
    return place;
  }
}

function placeOf(event) {
  const cell = event.target.closest?.("[data-place]");
  return cell ? Number(cell.dataset.place) : null;
}
