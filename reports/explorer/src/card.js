// A head's card: every measure in every direction with its interval and a tick a pair, curves, the
// pair's prompts and positions, partners, composed pairs; on the page that compares studies, the head in
// every study.

import { copyable } from "./copying.js";
import { curvePlots } from "./curves.js";
import { el } from "./dom.js";
import { exact, shown } from "./numbers.js";
import { positionTable, prompts } from "./prompts.js";
import { strip, stripDomain } from "./strips.js";
import { toolsOf } from "./tables.js";
import { inStudies } from "./tasks.js";

const OPEN_MEASURES = ["ap", "ig_joint", "disagreement", "atp", "output_range", "excess_range", "share", "rank"];

export function card(study, state, place, pinned, calls) {
  const name = study.name(place);
  const chosen = typeof state.pair === "number" ? state.pair : null;
  return el(
    "article",
    { class: `explorer-card${pinned ? " pinned" : ""}`, "aria-label": `Head ${name}`, "data-head": name },
    el(
      "header",
      {},
      el("h3", {}, "Head ", el("span", { class: "explorer-name" }, name)),
      el("p", { class: "note" }, standing(study, place)),
      el(
        "div",
        { class: "explorer-buttons" },
        button(pinned ? "unpin" : "pin", `${pinned ? "Unpin" : "Pin"} head ${name}`, () => calls.pin(place)),
        button("CSV", `Copy all numbers of head ${name} as CSV`, () => calls.copyCsv(place)),
        button("pandas", `Copy lines of pandas for head ${name}`, () => calls.copyPandas(place)),
      ),
    ),
    measureTables(study, state, place, chosen, pinned, calls),
    el("h4", {}, "Output curves"),
    curvePlots(study, place, chosen, pinned),
    study.ofStudies ? inStudies(study, place, chosen, pinned) : onPair(study, place, chosen, pinned, calls),
  );
}

// How the head stands among the others.
function standing(study, place) {
  const first = study.directions[0];
  if (study.ofStudies) {
    const { k } = study.header;
    return `among the first ${k} by |AP| in ${study.arrays.first_in.data[place]} of ${study.counted(study.pairs.length)} (${first})`;
  }
  const floor = study.arrays.at_floor.data[place] === 1;
  return `${ordinal(study.arrays.rank.data[place])} of ${study.size} by |AP| (${first})${floor ? "; below the floor of rounding" : ""}`;
}

function onPair(study, place, chosen, pinned, calls) {
  const pair = study.pairByNumber.get(chosen ?? positionedPair(study) ?? study.pairs[0].number);
  return [
    el("h4", {}, `Pair ${pair.number}`, chosen === null ? el("span", { class: "note" }, " (choose another above)") : null),
    prompts(pair, [` · ${study.header.short} ${shown(pair.metric_clean)} clean, ${shown(pair.metric_corrupted)} corrupted`]),
    positions(study, pair, place, pinned, calls),
    partners(study, place, calls),
    composed(study, place),
  ];
}

function button(text, label, call) {
  return el("button", { type: "button", "aria-label": label, title: label, on: { click: call } }, text);
}

function ordinal(rank) {
  const tens = rank % 100;
  const ending = tens > 10 && tens < 14 ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[rank % 10] ?? "th");
  return `${rank}${ending}`;
}

// The first pair whose positions are measured, which is the one to show where none is chosen.
function positionedPair(study) {
  return study.header.positions.length ? study.header.positions[0].pair : null;
}

function measureTables(study, state, place, chosen, pinned, calls) {
  const all = study.measures.filter(({ fixed }) => !fixed);
  const open = all.filter(({ key }) => OPEN_MEASURES.includes(key) || key === state.measure);
  const more = all.filter((measure) => !open.includes(measure));
  const tables = [measureTable(study, open, place, chosen, pinned, calls, "Scores")];
  if (more.length) {
    const details = el(
      "details",
      { class: "explorer-more" },
      el("summary", {}, `${more.length} more measures`),
    );
    // Made when it is opened: a card follows the pointer, and must be quick.
    const build = () => {
      if (details.open && details.children.length === 1) {
        details.append(...measureTable(study, more, place, chosen, pinned, calls, "More measures"));
      }
      calls.opened(details.open);
    };
    details.addEventListener("toggle", build);
    if (calls.isOpen()) details.open = true;
    tables.push(details);
  }
  return tables;
}

function measureTable(study, measures, place, chosen, pinned, calls, caption) {
  const table = el(
    "table",
    { class: "explorer-measures" },
    el("caption", { class: "explorer-unseen" }, `${caption} of head ${study.name(place)}`),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, chosen === null ? study.meanName : study.pairName(chosen)),
        study.directions.map((name) => el("th", { scope: "col" }, el("span", { class: `explorer-key ${name}` }), name)),
      ),
    ),
    el(
      "tbody",
      {},
      measures.map((measure) => {
        const domain = stripDomain(study, measure.key, place);
        return el(
          "tr",
          { "data-measure": measure.key },
          el("th", { scope: "row", title: measure.meaning }, label(measure)),
          study.directions.map((name, direction) => cell(study, measure, direction, place, domain, chosen, calls)),
        );
      }),
    ),
  );
  // A card that stays is worth sorting; one that follows the pointer is not.
  return pinned ? [toolsOf(table), table] : [table];
}

function label(measure) {
  const text = measure.unit ? `${measure.label}` : measure.label;
  return measure.word ? el("a", { class: "word", href: `#word-${measure.word}` }, text) : text;
}

function cell(study, measure, direction, place, domain, chosen, calls) {
  const { key } = measure;
  const mean = study.mean(key, direction, place);
  const value = chosen === null ? mean : study.value(key, direction, chosen, place);
  const [low, high] = study.interval(key, direction, place);
  const bounds = low <= high ? `[${study.shown(key, low)}, ${study.shown(key, high)}]` : "";
  if (Number.isNaN(value) && Number.isNaN(mean)) return el("td", {}, el("span", { class: "note" }, "not measured"));
  const what = `${measure.label}, ${study.directions[direction]}, head ${study.name(place)}`;
  return el(
    "td",
    { "data-exact": exact(value) || null, "data-ends": low <= high ? `${exact(low)} ${exact(high)}` : null },
    Number.isNaN(value)
      ? el("span", { class: "note" }, `not on ${study.pairName(chosen)} `)
      : el(
          "button",
          {
            type: "button",
            class: "explorer-value",
            title: `Copy ${exact(value)}`,
            "aria-label": `${what}: ${study.shown(key, value)}; copy it in full`,
            on: { click: () => calls.copyNumber(value, what) },
          },
          study.shown(key, value),
        ),
    chosen === null
      ? bounds && el("span", { class: "interval" }, ` ${bounds}`)
      : el("span", { class: "interval" }, ` mean ${study.shown(key, mean)} ${bounds}`),
    measure.pairs_in_all < study.header.pairs_in_all
      ? el("span", { class: "explorer-some" }, ` on ${measure.pairs_in_all} of ${study.counted(study.header.pairs_in_all)}`)
      : null,
    strip(study, key, direction, place, domain, chosen),
  );
}

function positions(study, pair, place, pinned, calls) {
  const table = positionTable(study, pair, place);
  if (table) return pinned ? [toolsOf(table), table] : [table];
  const other = positionedPair(study);
  if (other === null || other === pair.number) {
    return el("p", { class: "note" }, "Effects at single positions are not measured (setting positions.pairs).");
  }
  return el(
    "p",
    { class: "note" },
    "Effects at single positions are not measured on this pair. ",
    button(`Show pair ${other}`, `Show pair ${other}, whose positions are measured`, () => calls.choosePair(other)),
  );
}

// The name of another head, which leads to its card ("24.4 query": the head is 24.4), or of what is none.
function other(study, name, calls) {
  const [head, ...rest] = name.split(" ");
  const place = study.places.get(head);
  if (place === undefined) return el("b", {}, name);
  const text = rest.length ? ` ${rest.join(" ")}` : "";
  return [el("button", { type: "button", class: "explorer-head", title: `Pin head ${head}`, on: { click: () => calls.show(place) } }, head), text];
}

function partners(study, place, calls) {
  const rows = study.partners(place);
  const edges = study.edges(place);
  const parts = [el("h4", {}, "Partners")];
  for (const [direction, name] of study.directions.entries()) {
    const own = rows
      .filter((row) => row[0] === direction)
      .sort((one, other) => Math.abs(other[3]) - Math.abs(one[3]));
    if (!own.length) continue;
    const [, , , , disagreement, pairs] = own[0];
    parts.push(
      el(
        "p",
        { class: "explorer-partners" },
        `Within the layer (${name}): `,
        own.slice(0, 4).map((row, order) => [
          order ? ", " : "",
          other(study, `${study.layers[place]}.${row[2]}`, calls),
          ` ${shown(row[3])}`,
        ]),
        `; IG joint − AP is ${shown(disagreement)}. Means over the ${pairs} of ${study.header.pairs_in_all} pairs on which this head was among those of largest |IG joint − AP|.`,
      ),
    );
  }
  for (const [direction, name] of study.directions.entries()) {
    for (const [side, words] of [["from", "Receives from"], ["to", "Sends to"]]) {
      const own = edges.filter((row) => row[0] === direction && row[2] === side);
      if (!own.length) continue;
      parts.push(
        el(
          "p",
          { class: "explorer-partners" },
          `${words} (${name}, ${own[0][6]} of ${study.header.pairs_in_all} pairs): `,
          own.map((row, order) => [
            order ? ", " : "",
            other(study, row[3], calls),
            side === "from" ? ` by its ${row[4]}` : "",
            ` ${shown(row[5])}`,
          ]),
          ".",
        ),
      );
    }
  }
  if (parts.length === 1) {
    parts.push(el("p", { class: "note" }, "This head was not among those whose partners were sought (settings interaction.heads_per_pair, edges.receivers)."));
  }
  return parts;
}

function composed(study, place) {
  const found = study.composed(place);
  const name = study.name(place);
  const title = el("h4", {}, "Composed pairs");
  if (!found.length) {
    const code = [
      "import counterpoint",
      "",
      `model = counterpoint.load(${JSON.stringify(study.header.model)})`,
      `composed = counterpoint.compose(model, (${study.layers[place]}, ${study.numbers[place]}), counterpoint.pairs(${JSON.stringify(study.header.pairs_file)}))`,
      "composed.pairs.head()",
    ].join("\n");
    return [
      title,
      el("p", { class: "note" }, `None was composed for ${name} in this study. This composes them:`),
      copyable(el("pre", { class: "explorer-code" }, code)),
    ];
  }
  return [
    title,
    found.map((one) => {
      const facts = [`${one.from}: LD change ${shown(one.ld_change)}`];
      if (one.rank !== undefined) facts.push(`rank ${one.rank} of ${study.size}`);
      if (one.margin !== undefined) facts.push(`margin ${shown(one.margin)}`);
      return el("div", { class: "explorer-composed" }, el("p", { class: "note" }, facts.join(", ")), prompts(one));
    }),
  ];
}
