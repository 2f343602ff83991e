// Reads the data, shows every section, and shows again what a change of the state touches.

function showDetails(run) {
  const shown = state.flow >= 0 ? flowDetails(run) : state.link >= 0 ? linkDetails(run)
    : [none("Choose a link for its flows, and a flow for its hops and where its time went.")];
  byId("details").replaceChildren(...shown.filter(Boolean));
  const read = state.flow >= 0 ? flowsOf(run) : null;
  mark(read ? read.ways(state.flow) : []);
}

function showTopology(changed) {
  const run = current(), whole = changed.includes("run");
  byId("fabric").hidden = run.fabric === null;
  byId("no-topology").hidden = run.fabric !== null;
  if (run.fabric === null) {
    byId("no-topology").textContent = sentence(run.empty.links ?? "the engine has no links");
    return;
  }
  if (picture.fabric !== run.fabric) drawFabric(run.fabric);
  if (whole || changed.includes("time")) showTime(run);
  if (changed.some((name) => ["run", "time", "metric", "theme"].includes(name))) {
    paint(run);
    showLegend(run);
  }
  if (changed.some((name) => ["run", "time", "metric", "theme", "link"].includes(name))) showBusiest(run);
  if (changed.some((name) => ["run", "link", "flow"].includes(name))) showDetails(run);
  else if (changed.includes("time") && state.link >= 0 && state.flow < 0) {
    byId("details").querySelector(".sparks")?.replaceWith(spark(run, state.link));
  }
}

function showRun(run) {
  showFlows(run);
  showLinks(run);
  showTables(run);
  showOrigin(run);
}

async function start() {
  data = await readData();
  putInOrder();
  setUpHead();
  showSummary();
  showComparison();
  showGrids();
  showCharts();
  const stop = setUpTime(current);
  listeners.push((changed) => {
    if (changed.includes("run")) {
      stop();
      state.time = Math.min(state.time, seriesOf(current())?.n ?? 0);
      showRun(current());
    }
    showTopology(changed);
    if (changed.includes("theme")) for (const entry of drawn) drawChart(entry);
  });
  setUpTheme();
  for (const listen of listeners) listen(["run", "time"]);
  document.documentElement.dataset.ready = "page";
  await drawCharts();
  document.documentElement.dataset.ready = "all";
}

start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old to unpack the report: it needs one of 2023 or later."
    : `The report could not be shown: ${error.message}`;
  console.error(error);
});
