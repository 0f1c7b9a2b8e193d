// What is looked at, and its form in the page's address, by which a view is shared:
// #explore?m=ap&d=noising&p=3&s=shared&x=ap&y=output_range&h=23.0&pin=20.0,11.4
// On the page that compares studies, t=name is a study in place of a pair, and model=name its model.

import { MEAN } from "./study.js";

const BEGIN = "#explore?";
export const MOST_PINNED = 3;

export function startState(study) {
  // Shares can be compared between studies.
  const first = ["share", "ap"].find((key) => study.byKey.has(key)) ?? study.measures[0].key;
  const second = ["ig_joint", "output_range", "rank"].find((key) => study.byKey.has(key)) ?? first;
  const best = study.arrays.rank.data.indexOf(1);
  return {
    measure: first,
    direction: study.directions[0],
    pair: MEAN,
    scale: "own",
    x: first,
    y: second,
    head: best < 0 ? 0 : best,
    pinned: [],
  };
}

export function toHash(state, study) {
  const values = new URLSearchParams({
    m: state.measure,
    d: state.direction,
    ...(ofTask(state, study) ? { t: study.written(state.pair) } : { p: state.pair }),
    s: state.scale,
    x: state.x,
    y: state.y,
    h: study.name(state.head),
    ...(study.ofStudies ? { model: study.header.model } : {}),
  });
  if (state.pinned.length) values.set("pin", state.pinned.map((place) => study.name(place)).join(","));
  return `${BEGIN}${values.toString().replaceAll("%2C", ",")}`;
}

function ofTask(state, study) {
  return study.ofStudies && typeof state.pair === "number";
}

// The model that an address asks for, if the page has it.
export function modelOf(hash, models) {
  if (!hash.startsWith(BEGIN)) return null;
  const name = new URLSearchParams(hash.slice(BEGIN.length)).get("model");
  return models.includes(name) ? name : null;
}

// The state that an address asks for; null where it asks for none. What it asks for and this study
// does not have is as at the start.
export function fromHash(hash, study) {
  if (!hash.startsWith(BEGIN)) return null;
  const values = new URLSearchParams(hash.slice(BEGIN.length));
  // Names of heads are those of their model.
  if (study.ofStudies && (values.get("model") ?? study.header.model) !== study.header.model) return null;
  const state = startState(study);
  const choose = (name, key, allowed) => {
    const value = values.get(name);
    if (value !== null && allowed(value)) state[key] = value;
  };
  const known = (value) => study.byKey.has(value);
  choose("m", "measure", known);
  choose("x", "x", known);
  choose("y", "y", known);
  choose("d", "direction", (value) => study.views.includes(value));
  choose("s", "scale", (value) => value === "own" || value === "shared");
  const over = study.over.map(([key]) => key);
  choose("p", "pair", (value) => over.includes(value) || (/^\d+$/.test(value) && !study.ofStudies && study.pairByNumber.has(Number(value))));
  if (!over.includes(state.pair)) state.pair = Number(state.pair);
  const task = study.ofStudies ? study.pairs.find(({ name }) => name === values.get("t")) : undefined;
  if (task) state.pair = task.number;
  const place = study.places.get(values.get("h") ?? "");
  if (place !== undefined) state.head = place;
  state.pinned = (values.get("pin") ?? "")
    .split(",")
    .map((name) => study.places.get(name))
    .filter((one) => one !== undefined)
    .slice(0, MOST_PINNED);
  return state;
}
