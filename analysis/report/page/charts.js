// Curves and bars by plotly, in the colours of the theme.

let plotly = null; // a promise of it: it is large, and read once the page is there
const drawn = []; // {chart, box, view}

function loadPlotly() {
  plotly ??= inflate("plotly").then((code) => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(code);
    document.head.append(script);
    return window.Plotly;
  });
  return plotly;
}

function showCharts() {
  for (const chart of data.charts) {
    const body = document.querySelector(`#${chart.section} .body`);
    const box = h("div", { class: "plot", role: "img", "aria-label": chart.title });
    const entry = { chart, box, view: 0 };
    const head = h("div", { class: "chart-head" }, h("h3", {}, chart.title));
    if (chart.views.length > 1) {
      head.append(h("select", { "aria-label": `${chart.title}: which`, onchange: (event) => {
        entry.view = Number(event.target.value);
        drawChart(entry);
      } }, chart.views.map((view, index) => h("option", { value: index }, view.label))));
    }
    body.append(h("figure", { class: "chart" }, head, box));
    drawn.push(entry);
  }
  if (!document.querySelector("#curves figure")) {
    document.querySelector("#curves .body").append(none("No flow finished and no link was seen in use, so there is no curve."));
  }
}

async function drawCharts() {
  await loadPlotly();
  for (const entry of drawn) drawChart(entry);
}

function drawChart({ chart, box, view }) {
  if (!window.Plotly) return;
  const lines = chart.views[view].lines, style = getComputedStyle(document.documentElement);
  const [text, line] = ["--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  const across = chart.shape === "bars" || chart.shape === "stacked";
  const traces = lines.map((one) => (across ? bar(chart, one) : curve(chart, one)));
  const unit = lines[0].unit ?? chart.y.unit;
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { family: "system-ui, sans-serif", size: 12, color: text },
    margin: { l: across ? 10 : 62, r: 14, t: 8, b: 46 },
    height: across ? 110 + 30 * new Set(lines.flatMap((one) => one.names)).size + (chart.shape === "stacked" ? 40 : 0)
      : 290 + 20 * legendRows(lines, box.clientWidth),
    xaxis: axis(chart.x, chart.x.unit, line, lines.map((one) => one.x)),
    yaxis: axis(chart.y, unit, line, lines.map((one) => one.y ?? one.x)),
    showlegend: lines.length > 1 && chart.shape !== "bars",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", maxheight: 0.9 },
    barmode: "stack", hovermode: across ? "closest" : "x unified",
    hoverlabel: { bgcolor: style.getPropertyValue("--card").trim(), font: { color: text } },
  };
  if (across) Object.assign(layout.yaxis, { type: "category", autorange: "reversed", automargin: true, tickformat: "", ticksuffix: " " });
  if (chart.x.words?.length) {
    Object.assign(layout.xaxis, { tickvals: [...chart.x.words.keys()], ticktext: chart.x.words, tickformat: "", ticksuffix: "" });
  }
  if (!across && !chart.y.log) layout.yaxis.rangemode = "tozero";
  window.Plotly.react(box, traces, layout, { responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] });
}

// about how many rows the legend needs, so that it takes nothing from the curves
function legendRows(lines, wide) {
  const each = 50 + 7 * Math.max(...lines.map((line) => line.name.length));
  return lines.length > 1 ? Math.ceil(lines.length / Math.max(1, Math.floor((wide - 76) / each))) : 0;
}

function axis({ title, unit, log }, shown, line, entries) {
  const share = shown === "%";
  const ticks = log ? logTicks(entries) : null;
  return { title: { text: title, standoff: 8 }, type: log ? "log" : "linear", gridcolor: line, zerolinecolor: line,
    linecolor: line, tickformat: share ? ".0%" : unit === "" && shown === "" ? "" : "~s", ticksuffix: share ? "" : shown,
    exponentformat: "SI", automargin: true, ...(ticks ? { tickvals: ticks, ticktext: ticks.map((value) => si(value, shown)) } : {}) };
}

// 1, 2, 5 of each decade, or only the decades where they are many
function logTicks(entries) {
  let low = Infinity, high = 0;
  for (const entry of entries) for (const value of unpack(entry)) if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const ticks = [], few = high / low < 500;
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const digit of few ? [1, 2, 5] : [1]) ticks.push(digit * 10 ** decade);
  }
  return ticks.filter((tick) => tick >= low * 0.9 && tick <= high * 1.1);
}

function curve(chart, line) {
  const x = Array.from(unpack(line.x)), y = Array.from(unpack(line.y));
  const marked = chart.shape === "dots" || (chart.shape === "points" && x.length <= chart.few);
  const full = line.full ? unpack(line.full) : null; // points of saturated runs are hollow
  const many = chart.shape === "line" && chart.views[0].lines.length > 4;
  const made = { type: "scatter", name: line.name, x, y, mode: chart.shape === "dots" ? "markers" : marked ? "lines+markers" : "lines",
    line: { color: colour(line.number), width: 2, shape: chart.shape === "step" ? "hv" : "linear",
      dash: many ? "solid" : DASHES[(line.number + Math.floor(line.number / 8)) % 4] },
    marker: { size: 7, symbol: full ? x.map((_, i) => (line.number % 8) + (full[i] ? 100 : 0)) : line.number % 8 },
    text: full ? x.map((_, i) => (full[i] ? " saturated" : "")) : undefined };
  if (line.low) {
    const [low, high] = [unpack(line.low), unpack(line.high)];
    made.error_y = { type: "data", symmetric: false, array: y.map((value, i) => high[i] - value),
      arrayminus: y.map((value, i) => value - low[i]), thickness: 1.2, width: 3 };
  }
  return made;
}

function bar(chart, line) {
  return { type: "bar", orientation: "h", name: line.name, y: line.names, x: Array.from(unpack(line.x)),
    marker: { color: colour(line.number) }, hovertemplate: `${line.name}: %{x:.4~s}${chart.x.unit}<extra></extra>` };
}
