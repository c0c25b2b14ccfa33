"use strict";
// Interactive figures: hover, zoom, and a click that selects a run in all of them and in the table.
const data = JSON.parse(document.getElementById("charts").textContent);
const places = [...document.querySelectorAll("[data-chart], [data-heatmap]")];
const dark = matchMedia("(prefers-color-scheme: dark)");
const hidden = new Set();
const drawn = new Set();
let selected = null;

// colour-blind safe, from Okabe & Ito; lighter on a dark ground
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"],
  dark: ["#56b4e9", "#f5894a", "#2fc79a", "#e3a1c5", "#f0b429", "#a9d8ff", "#e7e9ec"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-down", "triangle-up", "star", "x"];
const MARKS = ["\u25CF", "\u25A0", "\u25C6", "\u25BC", "\u25B2", "\u2605", "\u2716"];
const DASHES = ["solid", "dash", "dot"];
const BUTTONS = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]; // none sends data
const isTouched = matchMedia("(pointer: coarse)").matches; // there, a drag on a figure scrolls the page
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const turn = (place) => Math.floor(place / 7);
const colourOf = (place) => COLOURS[dark.matches ? "dark" : "light"][place % 7];
const markOf = (place) => (place + turn(place)) % 7;
const alpha = (colour, share) => colour + Math.round(255 * share).toString(16).padStart(2, "0");

function lineTraces(line) {
  const place = data.methods.indexOf(line.method);
  const colour = colourOf(place);
  const shared = { meta: line.method, visible: !hidden.has(line.method), hoverinfo: "skip" };
  const traces = [];
  if (line.band) {
    const x = [...line.x, ...[...line.x].reverse()], y = [...line.band.low, ...[...line.band.high].reverse()];
    traces.push({ ...shared, x, y, mode: "lines", fill: "toself", fillcolor: alpha(colour, 0.18), line: { width: 0 } });
    if (line.band.centre) traces.push({ ...shared, x: line.x, y: line.band.centre, mode: "lines", line: { color: colour, width: 1, dash: "dash" } });
  }
  const points = { ...shared, hoverinfo: "text", hovertemplate: "%{text}<extra></extra>" };
  if (line.seeds.ids.length) {
    traces.push({ ...points, x: line.seeds.x, y: line.seeds.y, text: line.seeds.tips, customdata: line.seeds.ids, mode: "markers", marker: { color: alpha(colour, 0.6), size: 5 } });
  }
  traces.push({
    ...points, x: line.x, y: line.y, text: line.tips, customdata: line.ids,
    mode: line.marks ? "markers" : "lines+markers",
    line: { color: colour, width: 2, dash: DASHES[turn(place) % 3] },
    marker: { color: colour, size: 9, symbol: SYMBOLS[markOf(place)] },
    error_y: {
      type: "data", symmetric: false, color: colour, thickness: 1, width: 3,
      array: line.high.map((end, i) => Math.max(0, end - line.y[i])), arrayminus: line.low.map((end, i) => Math.max(0, line.y[i] - end)),
    },
  });
  return traces;
}

function referenceTrace(reference) {
  const colour = reference.marks && reference.dash === "solid" ? colourOf(0) : css("--quiet");
  return {
    x: reference.x, y: reference.y, mode: reference.marks ? "lines+markers" : "lines",
    line: { color: colour, dash: reference.dash, width: 1.5 }, name: reference.label,
    hovertemplate: `${reference.label}: %{y:.3~g}<extra></extra>`,
  };
}

function axis(own, more) {
  const ticks = own.ticks ? { tickmode: "array", tickvals: own.ticks, ticktext: own.ticks.map(String) } : { nticks: 7 };
  const range = own.range && !own.log ? { range: [...own.range] } : {};
  const title = { text: own.title, standoff: 8 };
  const zero = { zeroline: Boolean(own.zero), zerolinecolor: css("--quiet") };
  return { title, type: own.log ? "log" : "linear", gridcolor: css("--line"), linecolor: css("--line"), automargin: true, dtick: own.log && !own.ticks ? 1 : undefined, ...ticks, ...range, ...zero, ...more };
}

function layout(more) {
  const font = { color: css("--text"), size: 12, family: getComputedStyle(document.body).fontFamily };
  const hoverlabel = { bgcolor: css("--panel"), bordercolor: css("--accent"), font: { color: css("--text") }, align: "left" };
  const clear = "rgba(0,0,0,0)";
  return { font, hoverlabel, showlegend: false, hovermode: "closest", dragmode: isTouched ? false : "zoom", margin: { l: 50, r: 10, t: 30, b: 40 }, paper_bgcolor: clear, plot_bgcolor: clear, ...more };
}

function chartOf(place) {
  const chart = data.charts[place.dataset.chart];
  const panel = chart.panels[Number(place.dataset.panel)];
  const ring = { x: [], y: [], name: "selected", mode: "markers", hoverinfo: "skip", marker: { size: 19, color: "rgba(0,0,0,0)", line: { color: css("--text"), width: 3 } } };
  const traces = [...panel.references.map(referenceTrace), ...panel.lines.flatMap(lineTraces), ring];
  return [traces, layout({ xaxis: axis(chart.x), yaxis: axis(chart.y) })];
}

function heatmapOf(place) {
  const own = data.heatmaps[place.dataset.heatmap];
  const named = own.labels.length <= 24 && place.clientWidth >= 640;
  const ends = dark.matches ? ["#1d2127", "#82b9ff"] : ["#f7fbff", "#08306b"];
  const trace = {
    type: "heatmap", x: own.labels, y: own.labels, z: own.values, customdata: own.chance, zmin: 0, zmax: own.most, xgap: 1, ygap: 1,
    colorscale: [[0, ends[0]], [1, ends[1]]], colorbar: { title: { text: place.clientWidth < 640 ? "" : own.title, side: "right" }, thickness: 12 },
    hovertemplate: "%{y}<br>%{x}<br>Jaccard %{z:.3f}; by chance %{customdata:.3f}<extra></extra>",
  };
  const ticks = { type: "category", showticklabels: named, ticks: "", showgrid: false, automargin: true };
  return [[trace], layout({ xaxis: { ...ticks, tickangle: -90 }, yaxis: { ...ticks, autorange: "reversed" }, shapes: outlines(own), plot_bgcolor: css("--line") })];
}

function outlines(own) {
  const line = { color: css("--accent"), width: 2 };
  return own.ids.flatMap((id, i) => data.rows[id] !== selected ? [] : [
    { type: "rect", x0: -0.5, x1: own.ids.length - 0.5, y0: i - 0.5, y1: i + 0.5, line },
    { type: "rect", y0: -0.5, y1: own.ids.length - 0.5, x0: i - 0.5, x1: i + 0.5, line },
  ]);
}

function draw(place) {
  const isNew = !drawn.has(place);
  drawn.add(place);
  const [traces, own] = place.dataset.chart ? chartOf(place) : heatmapOf(place);
  const config = { responsive: true, displaylogo: false, modeBarButtons: [BUTTONS], toImageButtonOptions: { format: "svg" } };
  if (isTouched) config.displayModeBar = false;
  Plotly.react(place, traces, own, config);
  if (isNew) {
    place.on("plotly_click", ({ points: [point] }) => {
      const id = place.dataset.chart ? point.customdata : data.heatmaps[place.dataset.heatmap].ids[point.pointIndex[0]];
      if (data.rows[id]) select(data.rows[id]);
    });
  }
  mark(place);
}

function mark(place) {
  if (place.dataset.heatmap) return Plotly.relayout(place, { shapes: outlines(data.heatmaps[place.dataset.heatmap]) });
  const { lines } = data.charts[place.dataset.chart].panels[Number(place.dataset.panel)];
  const at = lines.flatMap((line) => line.ids.flatMap((id, i) => (id === selected && !hidden.has(line.method) ? [[line.x[i], line.y[i]]] : [])));
  return Plotly.restyle(place, { x: [at.map(([x]) => x)], y: [at.map(([, y]) => y)] }, [place.data.length - 1]);
}

function select(id) {
  selected = id === selected ? null : id;
  drawn.forEach(mark);
  for (const row of document.querySelectorAll("tr[data-run]")) {
    const isSelected = row.dataset.run === selected;
    row.classList.toggle("selected", isSelected);
    row.querySelector("button.select").setAttribute("aria-pressed", String(isSelected));
  }
  const bar = document.getElementById("selection");
  bar.hidden = selected === null;
  bar.querySelector("a").textContent = selected === null ? "" : data.labels[selected];
  bar.querySelector("a").href = `#run-${selected}`;
}

for (const row of document.querySelectorAll("tr[data-run]")) {
  const cell = row.cells[row.cells.length - 1];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "select";
  button.setAttribute("aria-pressed", "false");
  button.append(...cell.childNodes);
  cell.append(button);
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a") && getSelection().isCollapsed) select(row.dataset.run);
  });
}
document.querySelector("#selection button").addEventListener("click", () => select(selected));

for (const legend of document.querySelectorAll("[data-legend]")) {
  for (const button of legend.querySelectorAll("button")) {
    const method = button.dataset.method;
    button.addEventListener("click", () => {
      if (!hidden.delete(method)) hidden.add(method);
      drawn.forEach((place) => {
        const own = place.data.flatMap((trace, i) => (trace.meta === method ? [i] : []));
        if (own.length) Plotly.restyle(place, { visible: !hidden.has(method) }, own);
        mark(place);
      });
      for (const other of document.querySelectorAll("[data-legend] button")) {
        if (other.dataset.method === method) other.setAttribute("aria-pressed", String(!hidden.has(method)));
      }
    });
  }
}
function paintLegends() {
  for (const sign of document.querySelectorAll("[data-legend] .sign")) {
    const place = data.methods.indexOf(sign.parentElement.dataset.method);
    sign.style.color = colourOf(place);
    sign.textContent = MARKS[markOf(place)];
  }
}
paintLegends();

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting && !drawn.has(target)) draw(target);
}, { rootMargin: "400px" });
places.forEach((place) => near.observe(place));
addEventListener("beforeprint", () => places.filter((place) => !drawn.has(place)).forEach(draw));
dark.addEventListener("change", () => { paintLegends(); drawn.forEach(draw); });
