// Builds ../template/counterpoint/explorer.js, or the file that is named: one script of all that
// src/main.js needs, with the licences of what it holds at its head.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "..", "template", "counterpoint", "explorer.js");

const result = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.js"],
  bundle: true,
  minify: true,
  format: "iife",
  // DecompressionStream, private methods and container queries are of 2023.
  target: ["chrome111", "firefox113", "safari16.4"],
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
});

const packages = new Set();
for (const [path, { bytesInOutput }] of Object.entries(Object.values(result.metafile.outputs)[0].inputs)) {
  const match = /^node_modules\/([^/]+)\//.exec(path);
  if (match && bytesInOutput) packages.add(match[1]);
}
// Packages with the same text share it.
const licences = new Map();
for (const name of [...packages].sort()) {
  const folder = join(here, "node_modules", name);
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!file) throw new Error(`${name} has no file of its licence`);
  const text = readFileSync(join(folder, file), "utf8").trim();
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  licences.set(text, [...(licences.get(text) ?? []), `${name} ${version}`]);
}
const notices = [...licences].map(([text, names]) => `${names.join(", ")}\n\n${text}`).join("\n\n");
const banner = `/*! Built by make page from reports/explorer; holds parts of\n\n${notices}\n*/\n`;
const code = result.outputFiles[0].text;
// Inside a page it would end the script.
if (/<\/script/i.test(banner + code) || /<!--/.test(banner + code)) throw new Error("the script holds </script or <!--");
writeFileSync(target, banner + code);
