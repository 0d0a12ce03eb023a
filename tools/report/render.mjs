// Renders the Allure results of a run: `allure/index.html` (a folder to serve) and `allure.html` (a single file to send).
//
//   node render.mjs REPORTS [LANG]
//
// What Allure 3 renders by itself carries an analytics tag. A compliance report calls nobody: the tag is cut out, a
// Content-Security-Policy that allows no other origin is put in, and the rendering fails when anything of the tag is left.
// Categories follow our verdicts (categories.json), evidence.html with the trend of RTO and RPO is attached, and the
// history is kept in allure-history.jsonl.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const HISTORY = "allure-history.jsonl";
const HISTORY_LIMIT = 400; // a year of daily runs
const ATTACHED = ["evidence.html", "summary.md", "verdict.json", "rto.json"];
const BESIDE = ["artifacts.json", "test-results.json"]; // what Allure writes once, for programs that read a report
const POLICY =
  "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; base-uri 'self'; form-action 'none'; object-src 'none'";
const ANALYTICS = /\s*<script async src="https:\/\/www\.googletagmanager\.com\/[^"]*"><\/script>\s*<script>(?:(?!<\/script>)[\s\S])*?gtag\((?:(?!<\/script>)[\s\S])*?<\/script>/;

function main([reportsArgument, languageArgument = "en"]) {
  const reports = resolve(reportsArgument ?? "reports");
  const language = languageArgument.slice(0, 2) === "es" ? "es" : "en"; // LANG is a locale such as es_CL.UTF-8
  const results = join(reports, "allure-results");
  if (!existsSync(results) || !readdirSync(results).some((name) => name.endsWith("-result.json"))) {
    throw new Error(`${results} holds no results; run a suite first, for example: make dr`);
  }
  const scratch = mkdtempSync(join(tmpdir(), "smos-report-"));
  try {
    const variables = properties(join(results, "environment.properties"));
    const name = `${variables.target ?? "SmarterOS Verify"} · ${variables.verdict ?? ""} · ${variables.run_id ?? ""}`;
    const history = join(scratch, HISTORY);
    keepHistory(join(reports, HISTORY), history, name);
    generate({ scratch, results, reports, language, name, history });
    const folder = join(reports, "allure");
    rmSync(folder, { recursive: true, force: true });
    move(join(scratch, "report", "folder"), folder);
    move(join(scratch, "report", "single", "index.html"), join(reports, "allure.html"));
    if (existsSync(history)) move(history, join(reports, HISTORY));
    process.stdout.write(`${join(folder, "index.html")}\n${join(reports, "allure.html")}\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Run Allure once for both shapes of the report, in a folder of its own, and clean what it wrote. */
function generate({ scratch, results, reports, language, name, history }) {
  const output = join(scratch, "report");
  const options = { reportName: name, reportLanguage: language, theme: "light", groupBy: ["parentSuite"] };
  const awesome = "@allurereport/plugin-awesome";
  const config = {
    name,
    output,
    historyPath: history,
    historyLimit: HISTORY_LIMIT,
    appendHistory: true,
    categories: { rules: categories(join(results, "categories.json")) },
    globalAttachments: ATTACHED.map((file) => join(reports, file)).filter((file) => existsSync(file)),
    plugins: {
      folder: { import: awesome, options: { ...options, singleFile: false } },
      single: { import: awesome, options: { ...options, singleFile: true } },
    },
  };
  const path = join(scratch, "allurerc.json");
  writeFileSync(path, JSON.stringify(config));
  const cli = join(HERE, "node_modules", "allure", "cli.js");
  const done = spawnSync(process.execPath, [cli, "generate", results, "--config", path, "--cwd", scratch], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: scratch, NO_COLOR: "1" },
    timeout: 300_000,
  });
  const pages = ["folder", "single"].map((shape) => join(output, shape, "index.html"));
  if (done.status !== 0 || !pages.every((page) => existsSync(page))) {
    throw new Error(`Allure could not render the results:\n${done.stdout ?? ""}${done.stderr ?? ""}`);
  }
  for (const page of pages) writeFileSync(page, clean(readFileSync(page, "utf8")));
  for (const file of BESIDE.filter((file) => existsSync(join(output, file)))) {
    renameSync(join(output, file), join(output, "folder", file));
  }
}

/** Cut the analytics tag out of a page and put the policy in. Throws when something of the tag is left. */
export function clean(text) {
  const [head, tail] = split(text.replace(ANALYTICS, ""));
  const without = head + tail;
  if (/googletagmanager|google-analytics|G-LNDJ3J7WT0/.test(without)) {
    throw new Error("The rendered report still carries an analytics tag: Allure has changed; look at render.mjs");
  }
  return `${head}\n    <meta http-equiv="Content-Security-Policy" content="${POLICY}">\n    <meta name="referrer" content="no-referrer">${tail}`;
}

function split(text) {
  const at = text.indexOf('<meta charset="utf-8">');
  if (at < 0) throw new Error("The rendered report has no head: Allure has changed; look at render.mjs");
  const end = at + '<meta charset="utf-8">'.length;
  return [text.slice(0, end), text.slice(end)];
}

/** Copy the history without this run: a run that is rendered again (in another language) is not its own past. */
function keepHistory(from, to, name) {
  if (!existsSync(from)) return;
  const lines = readFileSync(from, "utf8").split("\n").filter((line) => line.trim() && nameOf(line) !== name);
  if (lines.length) writeFileSync(to, lines.join("\n") + "\n");
}

function nameOf(line) {
  try {
    return JSON.parse(line).name;
  } catch {
    return undefined;
  }
}

/** Our categories.json is of Allure 2's shape, which its documentation calls stable; Allure 3 wants rules. */
function categories(path) {
  if (!existsSync(path)) return [];
  return JSON.parse(readFileSync(path, "utf8")).map(({ name, matchedStatuses, messageRegex }) => ({
    name,
    matchedStatuses,
    // Allure 3 is JavaScript: it has the flag s, not Python's (?s).
    ...(messageRegex ? { messageRegex: messageRegex.replace("(?s)", "").replaceAll(".*", "[\\s\\S]*") } : {}),
  }));
}

function properties(path) {
  if (!existsSync(path)) return {};
  const found = {};
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 1).replaceAll("\\n", "\n").replaceAll("\\\\", "\\");
  }
  return found;
}

function move(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (error.code !== "EXDEV") throw error; // another file system
    spawnSync("cp", ["-R", from, to]);
  }
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`report: ${error.message}\n`);
    process.exitCode = 1;
  }
}
