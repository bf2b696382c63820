const dark = matchMedia("(prefers-color-scheme: dark)");
const plots = [...document.querySelectorAll(".plot")].map(place => [place, JSON.parse(place.dataset.figure)]);

function paint(value, theme) {
  if (Array.isArray(value)) return value.map(one => paint(one, theme));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, paint(one, theme)]));
  const found = typeof value === "string" && value.match(/^var\(--([\w-]+)\)$/);
  return found ? theme[found[1]] : value;
}

function draw(theme, width) {
  for (const [place, figure] of plots) {
    if (place.closest("details:not([open])")) continue;
    const { data, layout } = paint(figure, theme);
    Plotly.react(place, data, { ...layout, width, autosize: !width }, { responsive: true, displayModeBar: false, displaylogo: false });
  }
}

const drawForScreen = () => draw(dark.matches ? themes.dark : themes.light);
drawForScreen();
dark.addEventListener("change", drawForScreen);
document.querySelectorAll("details").forEach(one => one.addEventListener("toggle", drawForScreen));
addEventListener("beforeprint", () => draw(themes.light, 300));
addEventListener("afterprint", drawForScreen);
