// What is copied: rows as CSV in full precision, and the lines of pandas that give the same from the
// study's files.

import { exact } from "./numbers.js";
import { DIFFERENCE, MEAN, QUANTILES, SPREAD, SUM } from "./study.js";

function quoted(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Rows as lines, with a comma or a tabulator between cells.
export function delimited(rows, between) {
  const cell = between === "\t" ? (value) => value.replace(/[\t\r\n]+/g, " ") : quoted;
  return rows.map((row) => row.map((value) => cell(String(value))).join(between)).join("\n") + "\n";
}

export function csv(rows) {
  return delimited(rows, ",");
}

// All measures of a head on every shown pair (or in every study) and in every direction.
export function headCsv(study, place) {
  const measures = study.measures.filter(({ fixed }) => !fixed);
  const header = [study.noun, "direction", "layer", "head", ...measures.map(({ key }) => key)];
  const rows = [];
  for (const { number } of study.pairs) {
    for (const [direction, name] of study.directions.entries()) {
      const values = measures.map(({ key }) => exact(study.value(key, direction, number, place)));
      rows.push([study.written(number), name, study.layers[place], study.numbers[place], ...values]);
    }
  }
  return csv([header, ...rows]);
}

// The map: one row for each head.
export function viewCsv(study, state) {
  const { fixed } = study.byKey.get(state.measure);
  const values = study.view(state.measure, state.direction, state.pair);
  const rows = [["layer", "head", ...(fixed ? [] : ["direction", study.noun]), state.measure]];
  const view = fixed ? [] : [state.direction, study.written(state.pair)];
  for (let place = 0; place < study.size; place += 1) {
    rows.push([study.layers[place], study.numbers[place], ...view, exact(values[place])]);
  }
  return csv(rows);
}

function text(value) {
  return JSON.stringify(value);
}

function conditions(study, measure, state) {
  const found = Object.entries(measure.where).map(([column, value]) => `(rows[${text(column)}] == ${text(value)})`);
  if (study.ofStudies) found.unshift(`(rows["model"] == ${text(study.header.model)})`);
  if (state.direction !== SUM && state.direction !== DIFFERENCE) {
    found.push(`(rows["direction"] == ${text(state.direction)})`);
  }
  if (typeof state.pair === "number") {
    const value = study.written(state.pair);
    found.push(`(rows[${text(study.noun)}] == ${study.ofStudies ? text(value) : value})`);
  }
  return found;
}

// Lines of pandas for the view's values, of one head or (place null) of all.
export function pandas(study, state, place) {
  const measure = study.byKey.get(state.measure);
  const path = text(`${study.header.folder}/${measure.source}`);
  const read = study.ofStudies ? `pd.read_csv(${path}, dtype={"study": str, "model": str})` : `pd.read_parquet(${path})`;
  const lines = ["import pandas as pd", "", `rows = ${read}`];
  const wanted = measure.fixed ? [] : conditions(study, measure, state);
  if (place !== null) {
    wanted.unshift(`(rows["layer"] == ${study.layers[place]})`, `(rows["head"] == ${study.numbers[place]})`);
  }
  if (wanted.length) lines.push(`rows = rows[${wanted.join(" & ")}]`);
  if (measure.fixed) {
    lines.push(`values = rows.set_index(["layer", "head"])[${text(measure.column)}]`, "values", "");
    return lines.join("\n");
  }
  if (measure.key === "disagreement") lines.push('rows = rows.assign(value=rows["ig_joint"] - rows["ap"])');
  else if (measure.key === "abs_ap") lines.push('rows = rows.assign(value=rows["ap"].abs())');
  else if (measure.key === "position_interaction") {
    lines.push(
      'units = rows.groupby(["pair", "direction", "layer", "head"])',
      'rows = (units["ap"].sum() - units["ap_joint"].first()).rename("value").reset_index()',
    );
  } else if (measure.group === "positions") {
    lines.push('rows = rows.groupby(["pair", "direction", "layer", "head"])["ap"].sum().rename("value").reset_index()');
  } else lines.push(`rows = rows.rename(columns={${text(measure.column)}: "value"})`);
  lines.push(`values = rows.pivot_table(index=["layer", "head", ${text(study.noun)}], columns="direction", values="value")`);
  if (state.direction === SUM) lines.push(`values = values[${text(study.directions[0])}] + values[${text(study.directions[1])}]`);
  else if (state.direction === DIFFERENCE) {
    lines.push(`values = values[${text(study.directions[0])}] - values[${text(study.directions[1])}]`);
  } else lines.push(`values = values[${text(state.direction)}]`);
  const over = overPairs(state.pair);
  if (over) lines.push(`values = values.groupby(["layer", "head"]).${over}`);
  lines.push("values", "");
  return lines.join("\n");
}

// What pandas calls a view over pairs; nothing of a single pair.
function overPairs(pair) {
  if (pair === MEAN) return "mean()";
  if (pair === SPREAD) return "std()";
  return pair in QUANTILES ? `quantile(${QUANTILES[pair].at})` : "";
}
