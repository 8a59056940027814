// Draws the charts of the report from the JSON that the page holds; what people wrote goes into the page as text, never as markup.
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const answer = read("answer");
  const views = {};
  for (const [name, spec] of Object.entries(read("charts"))) {
    if (name === "map") {
      spec.datasets = { points: answer.map.points.map((point, place) => ({ place, x: point.x, y: point.y, nearest: point.nearest })) };
    }
    const { view } = await vegaEmbed(document.getElementById(`chart-${name}`), spec, { actions: false, ast: true, renderer: "svg" });
    views[name] = view;
  }
  if (views.map) {
    const panel = document.getElementById("point");
    const line = (parent, kind, text) => parent.appendChild(Object.assign(document.createElement(kind), { textContent: text }));
    const describe = (values) => answer.map.columns.map((name, index) => [name, values[index]]).filter(([, value]) => value !== null);
    const show = (place) => {
      const point = answer.map.points[place];
      panel.replaceChildren();
      line(panel, "h3", point.values[0] ?? "null");
      for (const [name, value] of describe(point.values).slice(1)) line(panel, "p", `${name}: ${value}`);
      line(panel, "h4", "Nearest in this sample, by cosine");
      const list = panel.appendChild(document.createElement("ol"));
      for (const [other, cosine] of point.nearest) line(list, "li", `${cosine.toFixed(3)}  ${answer.map.points[other].values[0] ?? "null"}`);
    };
    views.map.addSignalListener("hover", (_, selected) => {
      if (selected && selected.place && selected.place.length) show(selected.place[0]);
    });
  }
  window.reportViews = views;
  document.body.dataset.drawn = String(Object.keys(views).length);
})();
