// Every table of the page: sorted, filtered, copied. One fold a table, filled when it is opened. A cell
// whose full number is known (data-exact) is sorted by it and copied as it.

import { copyText } from "./copying.js";
import { el, replace } from "./dom.js";
import { delimited } from "./exports.js";
import { NOTHING, plain } from "./numbers.js";

const FEWEST_ROWS = 3;
const MINUS = "\u2212";

// The tables of the page that stand there without a script.
export function tableTools() {
  for (const table of document.querySelectorAll("main table")) {
    if (table.closest("#explorer") || !table.tHead || !table.tBodies[0]?.rows.length) continue;
    (table.closest(".scroll") ?? table).before(toolsOf(table));
  }
}

// The fold above a table. What is a map, or has hardly a row, is only copied.
export function toolsOf(table) {
  const arranged = table.tBodies[0].rows.length >= FEWEST_ROWS && !table.classList.contains("atlas");
  const details = el("details", { class: "table-tools" }, el("summary", {}, arranged ? "sort, filter, copy" : "copy"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(panel(table, table.tBodies[0], arranged));
  });
  return details;
}

function panel(table, body, arranged) {
  const rows = [...body.rows];
  const names = [...table.tHead.rows[table.tHead.rows.length - 1].cells].map((cell) => text(cell));
  const status = el("span", { role: "status", class: "explorer-status" });
  const copy = (name, between) =>
    el(
      "button",
      {
        type: "button",
        on: {
          click: async () => {
            const chosen = [...body.rows].filter((row) => !row.hidden);
            const done = await copyText(delimited(cells(names, chosen), between));
            status.textContent = done ? `Copied as ${name}.` : "The browser does not let this page copy.";
          },
        },
      },
      `copy as ${name}`,
    );
  return el(
    "div",
    { class: "table-panel" },
    arranged ? arranging(body, rows, names, status) : null,
    copy("CSV", ","),
    copy("TSV", "\t"),
    status,
  );
}

function arranging(body, rows, names, status) {
  const sort = el(
    "select",
    { "aria-label": "Sort by" },
    el("option", { value: "" }, "as it stands"),
    names.map((name, column) => el("option", { value: column }, name)),
  );
  const order = el(
    "select",
    { "aria-label": "Order" },
    el("option", { value: "-1" }, "greatest first"),
    el("option", { value: "1" }, "least first"),
    el("option", { value: "0" }, "largest size first"),
  );
  const filter = el("input", { type: "search", size: 12, "aria-label": "Show rows with this text" });
  const arrange = () => {
    const kept = sorted(rows, sort.value === "" ? null : Number(sort.value), Number(order.value));
    const wanted = plain(filter.value.trim().toLowerCase());
    for (const row of kept) row.hidden = Boolean(wanted) && !plain(text(row)).toLowerCase().includes(wanted);
    replace(body, kept);
    const left = kept.filter((row) => !row.hidden).length;
    status.textContent = wanted ? `${left} of ${rows.length} rows` : "";
  };
  for (const one of [sort, order]) one.addEventListener("change", arrange);
  filter.addEventListener("input", arrange);
  return [el("label", {}, "sort by ", sort), order, el("label", {}, "rows with ", filter)];
}

// Sorting is by the first number of a cell, where a cell begins with none by its text; empty last.
function sorted(rows, column, order) {
  if (column === null) return rows;
  const keyed = rows.map((row, place) => ({ row, place, key: key(row.cells[column]) }));
  const sign = order || -1;
  keyed.sort((one, other) => {
    const first = one.key;
    const second = other.key;
    if (first === null || second === null) return (first === null) - (second === null) || one.place - other.place;
    if (typeof first === "number" && typeof second === "number") {
      const [a, b] = order === 0 ? [Math.abs(first), Math.abs(second)] : [first, second];
      return (a === b ? 0 : sign * (a - b)) || one.place - other.place;
    }
    return sign * String(first).localeCompare(String(second)) || one.place - other.place;
  });
  return keyed.map(({ row }) => row);
}

function key(cell) {
  if (cell?.dataset.exact) return Number(cell.dataset.exact);
  const value = cell ? plain(text(cell)) : "";
  if (!value || value === NOTHING) return null;
  const match = /^[<>≤≥]?\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|-?∞)/.exec(value);
  if (!match) return value;
  // A head's name is a number with a point, but 10.2 comes after 9.8 and 2.10 after 2.9.
  const head = /^(\d+)\.(\d+)$/.exec(value);
  if (head && cell.tagName === "TH") return Number(head[1]) * 1e6 + Number(head[2]);
  return match[1].endsWith("∞") ? (match[1][0] === "-" ? -Infinity : Infinity) : Number(match[1]);
}

// A column with intervals becomes three: the number and its interval's ends.
function cells(names, rows) {
  const wide = names.map((_, column) => rows.some((row) => row.cells[column]?.querySelector(".interval")));
  const header = names.flatMap((name, column) => (wide[column] ? [name, `${name} low`, `${name} high`] : [name]));
  const body = rows.map((row) =>
    names.flatMap((_, column) => {
      const cell = row.cells[column];
      if (!cell) return wide[column] ? ["", "", ""] : [""];
      const exact = cell.dataset.exact;
      if (!wide[column]) return [exact ?? number(text(cell))];
      const ends = cell.querySelector(".interval");
      const whole = text(cell);
      const inside = ends ? text(ends) : "";
      const [low, high] = cell.dataset.ends
        ? cell.dataset.ends.split(" ")
        : (/\[(.*)\]/.exec(inside)?.[1] ?? "").split(",").map((end) => number(end.trim()));
      return [exact ?? number(inside ? whole.slice(0, whole.indexOf(inside)).trim() : whole), low ?? "", high ?? ""];
    }),
  );
  return [header, ...body];
}

function number(value) {
  const read = plain(value);
  return read === NOTHING || read === MINUS ? "" : read;
}

// What is read of a cell; lines are parted by a stroke.
export function text(node) {
  return read(node).replace(/\s+/g, " ").trim();
}

function read(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeName === "BR") return " | ";
  return [...node.childNodes].map(read).join("");
}
