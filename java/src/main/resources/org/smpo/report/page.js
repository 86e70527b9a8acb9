"use strict";
// Draws the charts from the data beside each canvas, in the colours of the page.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const style = () => {
    const css = getComputedStyle(document.documentElement);
    const value = (name) => css.getPropertyValue(name).trim();
    return { ink: value("--ink"), quiet: value("--quiet"), line: value("--line"), paper: value("--paper"),
      series: [0, 1, 2, 3, 4, 5].map((i) => value("--c" + i)) };
  };
  const POINTS = ["circle", "rect", "triangle", "rectRot", "star", "crossRot"];
  const short = (value) => value === null ? "–" : String(Number(value.toPrecision(4)));

  // Whiskers of bars and the reference line, which Chart.js lacks.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart, _, options) {
      const { ctx, chartArea, scales } = chart;
      ctx.save();
      if (options.reference !== null) {
        const along = scales[options.flat ? "x" : "y"].getPixelForValue(options.reference);
        ctx.strokeStyle = options.quiet;
        ctx.setLineDash([4, 3]);
        ctx.beginPath();
        if (options.flat) {
          ctx.moveTo(along, chartArea.top);
          ctx.lineTo(along, chartArea.bottom);
        } else {
          ctx.moveTo(chartArea.left, along);
          ctx.lineTo(chartArea.right, along);
        }
        ctx.stroke();
        ctx.setLineDash([]);
      }
      ctx.strokeStyle = options.ink;
      ctx.lineWidth = 1.5;
      options.series.forEach((series, which) => {
        chart.getDatasetMeta(which).data.forEach((bar, i) => {
          const low = series.low[i], high = series.high[i];
          if (low === undefined || low === null || high === null) return;
          const from = scales.x.getPixelForValue(low), to = scales.x.getPixelForValue(high), y = bar.y, cap = 4;
          ctx.beginPath();
          ctx.moveTo(from, y); ctx.lineTo(to, y);
          ctx.moveTo(from, y - cap); ctx.lineTo(from, y + cap);
          ctx.moveTo(to, y - cap); ctx.lineTo(to, y + cap);
          ctx.stroke();
        });
      });
      ctx.restore();
    },
  };

  // The legend shows whether lines are dashed, and shortens long names at the front, since their ends differ.
  const legend = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((label) => ({
    ...label,
    text: label.text.length > 36 ? label.text.slice(0, 18) + "…" + label.text.slice(-16) : label.text,
    lineDash: chart.data.datasets[label.datasetIndex].borderDash,
    lineWidth: 2,
  }));

  const configuration = (spec) => {
    const look = style();
    const colour = (series) => look.series[series.colour % look.series.length];
    const axis = (title, more) => ({
      title: { display: title !== "", text: title, color: look.quiet },
      ticks: { color: look.quiet, maxRotation: 0, autoSkipPadding: 12 },
      grid: { color: look.line, drawTicks: false },
      border: { color: look.line },
      ...more,
    });
    const bars = spec.kind === "SHARES";
    const datasets = spec.series.map((series) => bars ? {
      label: series.name,
      data: series.y,
      // Lighter than the whiskers.
      backgroundColor: colour(series) + "99",
      borderColor: colour(series),
      borderWidth: 1,
      maxBarThickness: 22,
    } : {
      label: series.name,
      data: series.x.map((x, i) => ({ x, y: series.y[i] })),
      borderColor: colour(series),
      backgroundColor: colour(series),
      borderDash: series.dashed ? [6, 4] : [],
      borderWidth: 2,
      pointStyle: POINTS[series.colour % POINTS.length],
      pointRadius: spec.kind === "OUTLINES" || series.x.length > 40 ? 0 : 2.5,
      pointHitRadius: 8,
      stepped: spec.kind === "OUTLINES" ? "middle" : false,
      spanGaps: true,
    });
    const shortened = (label) => label.length > 22 ? label.slice(0, 21) + "…" : label;
    return {
      type: bars ? "bar" : "line",
      data: { labels: bars ? spec.labels : undefined, datasets },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        indexAxis: bars ? "y" : "x",
        interaction: { mode: bars ? "index" : "nearest", axis: bars ? "y" : "x", intersect: false },
        scales: bars ? {
          x: axis(spec.xTitle, { min: 0, max: 100 }),
          y: axis(spec.yTitle, { grid: { display: false }, ticks: { color: look.ink, autoSkip: false,
            callback: (_, i) => shortened(spec.labels[i]) } }),
        } : {
          x: axis(spec.xTitle, { type: "linear", grid: { display: false } }),
          y: axis(spec.yTitle, spec.kind === "OUTLINES" ? { beginAtZero: true } : {}),
        },
        plugins: {
          legend: { display: spec.series.length > 1, position: "top", align: "start",
            labels: { color: look.ink, usePointStyle: !bars, boxHeight: 8, boxWidth: bars ? 8 : 28,
              pointStyleWidth: 28, pointStyle: "line", generateLabels: legend } },
          tooltip: { callbacks: {
            title: (items) => bars ? items[0].label : spec.xTitle + " " + short(items[0].parsed.x),
            label: (item) => {
              const series = spec.series[item.datasetIndex], i = item.dataIndex;
              const range = series.low.length ? " (" + short(series.low[i]) + " to " + short(series.high[i]) + ")" : "";
              return series.name + ": " + short(series.y[i]) + range;
            } } },
          whiskers: { series: spec.series, reference: spec.reference, flat: bars, ink: look.ink,
            quiet: look.quiet },
        },
      },
      plugins: [whiskers],
    };
  };

  const family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.family = family;
  Chart.defaults.font.size = 12;
  const drawn = [];
  const draw = () => {
    drawn.splice(0).forEach((chart) => chart.destroy());
    document.querySelectorAll("script[data-chart]").forEach((holder) => {
      const canvas = document.getElementById(holder.dataset.chart);
      drawn.push(new Chart(canvas, configuration(JSON.parse(holder.textContent))));
    });
  };
  draw();
  dark.addEventListener("change", draw);
  addEventListener("beforeprint", () => drawn.forEach((chart) => chart.resize()));
})();
