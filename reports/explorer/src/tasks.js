// On the page that compares studies: a head in every one of them, and the map of heads by studies.

import { colours, inkOn } from "./colours.js";
import { el, replace } from "./dom.js";
import { exact, shown } from "./numbers.js";
import { prompts } from "./prompts.js";
import { toolsOf } from "./tables.js";

const FEW_HEADS = 20;
const SHOWN = [["rank", "rank"], ["ap", "AP"], ["share", "share"]];

// The way to the head's card on a study's own page.
function address(study, task, place, pair) {
  const values = new URLSearchParams({ ...(pair === null ? {} : { p: pair }), h: study.name(place), pin: study.name(place) });
  return `${task.page}#explore?${values}`;
}

// A head's part of a card: where it stands in each study, and the pair on which it does most.
export function inStudies(study, place, chosen, pinned) {
  const columns = SHOWN.filter(([key]) => study.byKey.has(key));
  const table = el(
    "table",
    { class: "explorer-tasks" },
    el("caption", {}, "Ranks are by |AP| among all heads of the model; a study's name leads to this head on its page."),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ["study", "direction"].map((name) => el("th", { scope: "col" }, name)),
        columns.map(([, name]) => el("th", { scope: "col", class: "number" }, name)),
      ),
    ),
    el(
      "tbody",
      {},
      study.pairs.flatMap((task) =>
        study.directions.map((name, direction) =>
          el(
            "tr",
            { class: task.number === chosen ? "highlighted" : null },
            el("th", { scope: "row" }, el("a", { href: address(study, task, place, null) }, task.name)),
            el("td", {}, name),
            columns.map(([key]) => number(study, key, study.value(key, direction, task.number, place))),
          ),
        ),
      ),
    ),
  );
  const task = study.pairByNumber.get(chosen ?? bestTask(study, place));
  return [
    el("h4", {}, "In every study"),
    pinned ? toolsOf(table) : null,
    table,
    bestPair(study, task, place),
  ];
}

function number(study, key, value) {
  return el("td", { class: "number", "data-exact": exact(value) || null }, study.shown(key, value));
}

// The study in which the head comes first among the others.
function bestTask(study, place) {
  let best = study.pairs[0].number;
  for (const { number: task } of study.pairs) {
    if (study.value("rank", 0, task, place) < study.value("rank", 0, best, place)) best = task;
  }
  return best;
}

function bestPair(study, task, place) {
  const at = task.number * study.size + place;
  const wanted = study.arrays["best.pair"].data[at];
  const pair = task.shown.find(({ number: one }) => one === wanted);
  if (!pair) return el("p", { class: "note" }, `The pairs of ${task.title} are not beside this page.`);
  const direction = study.directions[study.arrays["best.direction"].data[at]];
  return [
    el("h4", {}, `Where it does most in ${task.title}`),
    el(
      "p",
      { class: "note" },
      el("a", { href: address(study, task, place, wanted) }, `pair ${wanted} of ${task.count}`),
      `, ${direction}: AP ${shown(study.arrays["best.ap"].data[at])}`,
    ),
    prompts(pair),
  ];
}

// Heads by studies, coloured by the map's measure in the map's direction.
export class TaskMap {
  constructor(study, calls) {
    this.study = study;
    this.calls = calls;
    this.all = false;
    this.node = el("div", { class: "explorer-task-map" });
  }

  draw(state, label) {
    this.state = state;
    const { study } = this;
    const { key } = study.byKey.get(state.measure);
    const columns = study.pairs.map((task) => study.view(key, state.direction, task.number));
    const ranked = study.ranked(key, state.direction, study.pairs[0].number);
    const shade = ranked ? (value) => 1 / value : (value) => value;
    // Heads in the order of the darkest shade that they have in any study.
    const darkest = Array.from({ length: study.size }, (_, place) =>
      columns.reduce((most, values) => (Math.abs(shade(values[place])) > most ? Math.abs(shade(values[place])) : most), 0),
    );
    const places = [...darkest.keys()].sort((one, other) => darkest[other] - darkest[one]);
    const shownPlaces = this.all ? places : places.slice(0, FEW_HEADS);
    const colour = colours(Math.max(...darkest), !ranked && study.signed(key, state.direction, study.pairs[0].number));
    const table = el(
      "table",
      { class: "explorer-task-table" },
      el("caption", {}, label),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "head"), study.pairs.map((task) => el("th", { scope: "col", class: "number" }, task.name)))),
      el(
        "tbody",
        {},
        shownPlaces.map((place) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, el("button", { type: "button", title: `Pin head ${study.name(place)}`, on: { click: () => this.calls.pin(place) } }, study.name(place))),
            columns.map((values) => taskCell(study, key, values[place], colour(shade(values[place])))),
          ),
        ),
      ),
    );
    const more = el(
      "button",
      {
        type: "button",
        on: {
          click: () => {
            this.all = !this.all;
            this.draw(this.state, label);
          },
        },
      },
      this.all ? `the first ${FEW_HEADS} alone` : `all ${study.size} heads`,
    );
    replace(
      this.node,
      el("h3", {}, "Heads by studies"),
      toolsOf(table),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Heads by studies" }, table),
      study.size > FEW_HEADS ? more : null,
    );
  }
}

function taskCell(study, key, value, ground) {
  if (Number.isNaN(value)) return el("td", { class: "number" }, study.shown(key, value));
  return el(
    "td",
    { class: "number", "data-exact": exact(value), style: { "background-color": ground, color: inkOn(ground) } },
    study.shown(key, value),
  );
}
