// What ran, how it ended, how the runs compare, where it all came from.

const STATUS = { completed: "good", saturated: "warn", stopped: "bad", stalled: "bad" };
const badge = (run) => h("span", { class: `badge ${STATUS[run.status] ?? ""}` },
  run.status + (run.interrupted ? ", interrupted" : ""));

// where requests are served they are what the run is about
function putInOrder() {
  if (data.runs.some((run) => run.tables.replicas.rows)) byId("comparison").after(byId("requests"), byId("replicas"));
}

function setUpHead() {
  const first = data.runs[0], fabric = data.fabrics[first.fabric];
  const same = (name) => new Set(data.runs.map((run) => run[name])).size === 1;
  const facts = [];
  if (same("engine")) facts.push(`${first.engine} engine`);
  if (fabric && data.fabrics.length === 1) {
    facts.push(`${fabric.kind}, ${count(fabric.hosts)} hosts, ${count(fabric.link.length)} links`);
  }
  if (same("seed")) facts.push(`seed ${first.seed}`);
  if (data.count > 1) facts.push(`${count(data.count)} ${{ variants: "variants", sweep: "cells" }[data.kind] ?? "runs"}`);
  byId("facts").append(facts.join(" · "));
  const names = data.kind === "variants" ? "Variant" : "Run";
  byId("what").textContent = names;
  byId("chooser").hidden = data.runs.length < 2;
  byId("run").append(...data.runs.map((run, index) => h("option", { value: index }, run.name)));
  byId("run").addEventListener("change", (event) => change({ run: Number(event.target.value), link: -1, flow: -1 }));
  byId("nav").append(...[...document.querySelectorAll("main section")].map((section) =>
    h("li", {}, h("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))));
}

function showSummary() {
  const body = document.querySelector("#summary .body");
  const counts = new Map();
  for (const run of data.runs) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  if (data.certificate) body.append(h("p", { class: "lead" }, data.certificate.sentence));
  else if (!data.cells) body.append(h("p", { class: "lead" }, leadOf()));
  if (data.cells) {
    const { rows, failed } = data.cells;
    body.append(h("p", { class: "lead" }, `${count(rows.length)} cells, ${failed ? `${count(failed)} of them failed` : "none of them failed"}.`),
      grid(data.cells, "Cells", 12), h("h3", {}, `The cells in this file`));
  }
  body.append(grid(data.grids.runs, "Key figures"));
  const said = data.runs.filter((run) => run.reasons.length || run.interrupted);
  if (said.length) {
    body.append(h("h3", {}, "What to know"), h("ul", { class: "plain" }, said.map((run) => h("li", {}, badge(run), " ",
      h("b", {}, run.name), ": ", run.reasons.join("; ")))));
  }
  if (data.count > data.runs.length) {
    body.append(h("p", { class: "note" }, `The flows and links of ${data.runs.length} of ${count(data.count)} runs are in `
      + "this file, spread over all; name the folder of another run (of a sweep: cells/NAME) to see its own."));
  }
}

// one sentence: how it ended, and which run did best where they may be compared
function leadOf() {
  const many = data.count > 1, measure = data.measures.shown[0];
  const ended = new Set(data.runs.map((run) => run.status));
  const end = ended.size === 1 ? `${many ? "All runs" : "The run"} ${[...ended][0]}.` : "The runs ended in different ways.";
  if (!measure) return end;
  const title = measure.title[0].toLowerCase() + measure.title.slice(1);
  if (!many) return `${end} ${sentence(`${title}: ${si(measure.values[0], measure.unit, 4)}`)}`;
  if (!data.measures.comparable) return `${end} They had different work to do, so their times are not set in relation.`;
  const known = measure.values.map((value, index) => [value, index]).filter(([value]) => value !== null);
  known.sort((a, b) => a[0] - b[0]);
  const [best, worst] = [known[0], known[known.length - 1]];
  const names = data.measures.names;
  const first = `${end} By ${title}, ${names[best[1]]} is first with ${si(best[0], measure.unit, 4)}; ${names[worst[1]]}`;
  if (measure.unit !== "s") return `${first} has ${si(worst[0], measure.unit, 4)}.`;
  return `${first} takes ${(worst[0] / best[0]).toFixed(3)} times as long.`;
}

function showComparison() {
  const body = document.querySelector("#comparison .body"), { names, shown, comparable } = data.measures;
  if (data.certificate) body.append(h("details", { open: true }, h("summary", {}, "The decision certificate"), h("pre", { tabindex: "0", "aria-label": "Certificate" },
      h("code", {}, data.certificate.text))));
  if (names.length < 2) {
    if (!data.certificate) body.append(none("One run: there is nothing to compare it with. Give the scenario variants."));
    return;
  }
  body.append(h("div", { class: "bars" }, shown.map((measure) => {
    const known = measure.values.filter((value) => value !== null);
    const most = Math.max(...known), best = Math.min(...known);
    return h("figure", {}, h("figcaption", {}, measure.title), h("dl", {}, names.map((name, index) => {
      const value = measure.values[index];
      const more = comparable && value !== null && best > 0 ? (value / best - 1) * 100 : 0;
      const bar = h("span", { class: "fill" });
      bar.style.width = `${value === null || most <= 0 ? 0 : (value / most) * 100}%`;
      bar.style.setProperty("--number", index);
      bar.classList.toggle("best", value === best);
      return [h("dt", {}, name), h("dd", {}, h("span", { class: "track", "aria-hidden": "true" }, bar),
        h("span", { class: "value" }, value === null ? "–" : si(value, measure.unit),
          more >= 0.05 ? h("small", {}, ` +${more.toFixed(more < 10 ? 1 : 0)} %`) : null))];
    }).flat()));
  })));
  if (!comparable) body.append(h("p", { class: "note" }, "The runs had different work to do, so no ratio is given."));
  else body.append(h("p", { class: "note" }, data.certificate ? "Each is one run with one seed, shown to explore."
    : "Smaller is better in each. One seed decides nothing: `compare` says whether a difference holds over many."));
}

function showTables(run) {
  for (const [section, table] of [["collectives", "collectives"], ["moe", "moe_steps"], ["requests", "request_classes"],
    ["replicas", "replicas"], ["demands", "demands"], ["decisions", "decisions"], ["gpus", "gpus"], ["counters", "counters"]]) {
    const body = document.querySelector(`#${section} .body`);
    body.querySelectorAll(":scope > .run, :scope > .none").forEach((old) => old.remove());
    const told = run.tables[table], box = h("div", { class: "run" });
    if (!told.rows) box.append(none(sentence(run.empty[table] ?? "nothing")));
    else box.append(h("h3", {}, data.runs.length > 1 ? `${run.name}: every row` : "Every row"), plainTable(told, table));
    body.append(box);
  }
}

function showGrids() {
  for (const [section, name] of [["collectives", "collectives"], ["moe", "moe_steps"], ["requests", "requests"],
    ["requests", "request_classes"], ["demands", "demands"]]) {
    const told = data.grids[name];
    if (!told) continue;
    const body = document.querySelector(`#${section} .body`);
    if (told.heading) body.append(h("p", {}, sentence(told.heading)));
    body.append(grid(told, name));
  }
}

function showOrigin(run) {
  const body = document.querySelector("#origin .body");
  const policies = Object.entries(run.policies).map(([level, { kind, ...rest }]) => {
    const given = Object.entries(rest).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ");
    return [level, given ? `${kind} {${given}}` : kind];
  });
  const list = (pairs) => h("dl", { class: "facts-list" }, pairs.map(([name, value]) =>
    [h("dt", {}, name), h("dd", {}, String(value))]).flat());
  const own = `${run.name.replace(/[^a-z0-9_-]/gi, "_")}.yaml`;
  const copy = h("button", { type: "button", onclick: async (event) => {
    await navigator.clipboard.writeText(run.scenario);
    event.target.textContent = "Copied";
  } }, "Copy");
  body.replaceChildren(
    h("p", {}, `${data.runs.length > 1 ? `${run.name}: s` : "S"}eed ${run.seed}, engine ${run.engine}`
      + `${run.loads.length ? `, load ${run.loads.join(", ")}` : ""}.`),
    h("h3", {}, "Policies"), list(policies),
    h("h3", {}, "Versions"), list(Object.entries(run.versions)),
    h("h3", {}, "Inputs (SHA-256)"), list(Object.entries(run.inputs)),
    h("h3", {}, "Run it again"),
    h("p", {}, `The scenario below is complete: save it as ${own} beside the files that it names, with the versions above. `
      + "The same seed gives the same numbers."),
    h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", {}, `python run_sim.py ${own}`)),
    h("details", {}, h("summary", {}, "The effective scenario"), navigator.clipboard ? copy : null,
      h("pre", { tabindex: "0", "aria-label": "Scenario" }, h("code", {}, run.scenario))));
}
