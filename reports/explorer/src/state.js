// What is looked at, and its form in the page's address, by which a view is shared:
// #explore?m=ap&d=noising&p=3&s=shared&x=ap&y=output_range&h=23.0&pin=20.0,11.4

import { MEAN, SPREAD } from "./study.js";

const BEGIN = "#explore?";
export const MOST_PINNED = 3;

export function startState(study) {
  const first = study.byKey.has("ap") ? "ap" : study.measures[0].key;
  const second = ["ig_joint", "output_range"].find((key) => study.byKey.has(key)) ?? first;
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
    p: state.pair,
    s: state.scale,
    x: state.x,
    y: state.y,
    h: study.name(state.head),
  });
  if (state.pinned.length) values.set("pin", state.pinned.map((place) => study.name(place)).join(","));
  return `${BEGIN}${values.toString().replaceAll("%2C", ",")}`;
}

// The state that an address asks for; null where it asks for none. What it asks for and this study
// does not have is as at the start.
export function fromHash(hash, study) {
  if (!hash.startsWith(BEGIN)) return null;
  const values = new URLSearchParams(hash.slice(BEGIN.length));
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
  choose("p", "pair", (value) => value === MEAN || value === SPREAD || study.pairByNumber.has(Number(value)));
  if (state.pair !== MEAN && state.pair !== SPREAD) state.pair = Number(state.pair);
  const place = study.places.get(values.get("h") ?? "");
  if (place !== undefined) state.head = place;
  state.pinned = (values.get("pin") ?? "")
    .split(",")
    .map((name) => study.places.get(name))
    .filter((one) => one !== undefined)
    .slice(0, MOST_PINNED);
  return state;
}
