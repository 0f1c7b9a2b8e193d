// What is copied: rows as CSV in full precision, and the lines of pandas that give the same from the
// study's files.

import { exact } from "./numbers.js";
import { DIFFERENCE, MEAN, SPREAD, SUM } from "./study.js";

function quoted(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(rows) {
  return rows.map((row) => row.map((cell) => quoted(String(cell))).join(",")).join("\n") + "\n";
}

// All measures of a head on every shown pair and in every direction.
export function headCsv(study, place) {
  const header = ["pair", "direction", "layer", "head", ...study.measures.map(({ key }) => key)];
  const rows = [];
  for (const { number } of study.pairs) {
    for (const [direction, name] of study.directions.entries()) {
      const values = study.measures.map(({ key }) => exact(study.value(key, direction, number, place)));
      rows.push([number, name, study.layers[place], study.numbers[place], ...values]);
    }
  }
  return csv([header, ...rows]);
}

// The map: one row for each head.
export function viewCsv(study, state) {
  const values = study.view(state.measure, state.direction, state.pair);
  const rows = [["layer", "head", "direction", "pair", state.measure]];
  for (let place = 0; place < study.size; place += 1) {
    rows.push([study.layers[place], study.numbers[place], state.direction, state.pair, exact(values[place])]);
  }
  return csv(rows);
}

function text(value) {
  return JSON.stringify(value);
}

function conditions(measure, state) {
  const found = Object.entries(measure.where).map(([column, value]) => `(rows[${text(column)}] == ${text(value)})`);
  if (state.direction !== SUM && state.direction !== DIFFERENCE) {
    found.push(`(rows["direction"] == ${text(state.direction)})`);
  }
  if (state.pair !== MEAN && state.pair !== SPREAD) found.push(`(rows["pair"] == ${state.pair})`);
  return found;
}

// Lines of pandas for the view's values, of one head or (place null) of all.
export function pandas(study, state, place) {
  const measure = study.byKey.get(state.measure);
  const lines = ["import pandas as pd", "", `rows = pd.read_parquet(${text(`${study.header.folder}/${measure.source}`)})`];
  const wanted = conditions(measure, state);
  if (place !== null) {
    wanted.unshift(`(rows["layer"] == ${study.layers[place]})`, `(rows["head"] == ${study.numbers[place]})`);
  }
  if (wanted.length) lines.push(`rows = rows[${wanted.join(" & ")}]`);
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
  lines.push('values = rows.pivot_table(index=["layer", "head", "pair"], columns="direction", values="value")');
  if (state.direction === SUM) lines.push(`values = values[${text(study.directions[0])}] + values[${text(study.directions[1])}]`);
  else if (state.direction === DIFFERENCE) {
    lines.push(`values = values[${text(study.directions[0])}] - values[${text(study.directions[1])}]`);
  } else lines.push(`values = values[${text(state.direction)}]`);
  if (state.pair === MEAN) lines.push('values = values.groupby(["layer", "head"]).mean()');
  if (state.pair === SPREAD) lines.push('values = values.groupby(["layer", "head"]).std()');
  lines.push("values", "");
  return lines.join("\n");
}
