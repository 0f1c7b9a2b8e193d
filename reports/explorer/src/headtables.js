// The page's tables of heads: a name leads to the head's card, and a mean that the explorer has too is
// known in full, so that it is sorted and copied as such.

import { el } from "./dom.js";
import { exact } from "./numbers.js";
import { text } from "./tables.js";

export async function headTables(explorers) {
  for (const table of document.querySelectorAll("main table")) {
    if (table.closest("#explorer") || table.classList.contains("atlas")) continue;
    const header = table.tHead?.rows[0]?.cells ?? [];
    if (!header.length || !/^heads?$/i.test(text(header[0]))) continue;
    const model = table.closest("[data-model]")?.dataset.model ?? explorers.models[0];
    if (!explorers.texts.has(model)) continue;
    const study = await explorers.study(model);
    const rows = [...(table.tBodies[0]?.rows ?? [])].map((row) => ({ row, place: study.places.get(text(row.cells[0])) }));
    for (const { row, place } of rows) {
      if (place !== undefined) link(explorers, study, model, study.name(place), row.cells[0]);
    }
    if (study.ofStudies || rows.some(({ place }) => place === undefined)) continue;
    for (let column = 1; column < header.length; column += 1) complete(study, text(header[column]), rows, column);
  }
}

function link(explorers, study, model, name, cell) {
  const { firstChild } = cell.querySelector(".cell") ?? cell;
  if (firstChild?.nodeType !== Node.TEXT_NODE) return;
  const go = (event) => {
    event.preventDefault();
    explorers.go(model, name);
  };
  const values = new URLSearchParams({ h: name, pin: name, ...(study.ofStudies ? { model } : {}) });
  const made = el("a", { class: "explorer-go", href: `#explore?${values}`, title: `Head ${name} in the explorer`, on: { click: go } });
  firstChild.before(made);
  made.append(firstChild);
}

// A column that is named as a measure ("AP, denoising", or "IG joint" of the first direction) and in every
// row rounds as its mean does is that mean.
function complete(study, name, rows, column) {
  for (const { key, label, fixed } of study.measures) {
    const direction = study.directions.findIndex((one, place) => name === `${label}, ${one}` || (place === 0 && name === label));
    if (fixed || direction < 0) continue;
    const means = rows.map(({ place }) => study.mean(key, direction, place));
    if (!rows.every(({ row }, at) => rounds(row.cells[column], means[at]))) continue;
    for (const [at, { row, place }] of rows.entries()) {
      const cell = row.cells[column];
      cell.dataset.exact = exact(means[at]);
      const ends = study.interval(key, direction, place);
      const shown = (/\[(.*)\]/.exec(text(cell))?.[1] ?? "").split(", ");
      if (shown.length === 2 && shown.every((end, side) => near(end, ends[side]))) cell.dataset.ends = ends.map(exact).join(" ");
    }
    return;
  }
}

function rounds(cell, mean) {
  return cell !== undefined && near(/^-?[\d.]+(e[+-]?\d+)?/.exec(text(cell))?.[0] ?? "", mean);
}

// Whether a number as it is written is this one, to its last digit.
function near(written, value) {
  if (!written || !Number.isFinite(value)) return false;
  const [, decimals = "", power = "0"] = /^-?\d+(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(written) ?? [];
  return Math.abs(Number(written) - value) <= 0.5001 * 10 ** (Number(power) - decimals.length);
}
