"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const still = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false, showTips: false };

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const axis = (own) => ({ ...own, gridcolor: color("--line"), linecolor: color("--line"), tickcolor: color("--line") });
    return {
      ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--soft"), font: { color: color("--ink") } },
    };
  }

  function draw() {
    for (const place of plots) {
      const figure = figures[place.dataset.figure];
      Plotly.react(place, figure.data, themed(figure.layout), still);
    }
  }

  for (const button of document.querySelectorAll("[data-raw]")) {
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      for (const trace of figures[document.getElementById(button.dataset.raw).dataset.figure].data) {
        if (trace.meta === "raw") trace.visible = show;
      }
      draw();
    });
  }

  dark.addEventListener("change", draw);
  draw();
  document.body.dataset.drawn = "true";
})();
