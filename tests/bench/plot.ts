/** Plots as SVG text, drawn by echarts without a DOM. */
import { BarChart, CustomChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { bothRuntimes, type RuntimeKind } from "../support/node.ts";
import { median } from "./figures.ts";
import { shown } from "./report.ts";
import type { RowResult, Series, Verdict } from "./types.ts";

use([
  BarChart,
  CustomChart,
  ScatterChart,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  SVGRenderer,
]);

/** Of every plot, in pixels. */
export const width = 880;
const font = "system-ui, sans-serif";
const colours: Record<RuntimeKind | "other", string> = { bun: "#c8702d", deno: "#3a6ea8", other: "#9a9a9a" };
/** Chosen: with more dots a bar cannot be read. */
const maxDots = 40;

/** Draws one chart. @param height in pixels, as `width` */
export function svg(option: EChartsCoreOption, height: number): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, backgroundColor: "#fff", textStyle: { fontFamily: font }, ...option });
  const text = chart.renderToSVGString();
  chart.dispose();
  return text;
}

function colourOf(contestant: string): string {
  return colours[/\bbun$/.test(contestant) ? "bun" : /\bdeno$/.test(contestant) ? "deno" : "other"];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

const barHeight = 26;
const titleHeight = 34;
const axisHeight = 46;

/** Bars of the medians with a dot for each round, one panel below the other. */
export function bars(panels: readonly Panel[]): string {
  let top = 0;
  const parts = panels.map(({ title, series }, index) => {
    const height = series.length * barHeight;
    const place = { top: top + titleHeight, height, left: 200, right: 110 };
    const heading = { text: title, top: top + 8, left: 8, textStyle: { fontSize: 14, fontFamily: font } };
    top += titleHeight + height + axisHeight;
    return { place, heading, index, series };
  });
  return svg({
    title: parts.map(({ heading }) => heading),
    grid: parts.map(({ place }) => place),
    xAxis: parts.map(({ index, series }) => ({
      type: "value",
      gridIndex: index,
      min: (range: { min: number }) => Math.min(0, range.min),
      name: series[0]?.unit,
      nameLocation: "middle",
      nameGap: 26,
      splitNumber: 5,
    })),
    yAxis: parts.map(({ index, series }) => ({
      type: "category",
      gridIndex: index,
      inverse: true,
      data: series.map(({ contestant }) => contestant),
      axisTick: { show: false },
      axisLabel: { width: 185, overflow: "truncate", interval: 0 },
    })),
    series: parts.flatMap(({ index, series }) => [
      {
        type: "bar",
        xAxisIndex: index,
        yAxisIndex: index,
        barWidth: 15,
        data: series.map(({ contestant, rounds }) => ({
          value: median(rounds),
          itemStyle: { color: colourOf(contestant) },
        })),
      },
      {
        type: "scatter",
        xAxisIndex: index,
        yAxisIndex: index,
        symbolSize: 5,
        itemStyle: { color: "#222", opacity: 0.7 },
        data: series.flatMap(({ rounds }, at) => rounds.slice(0, maxDots).map((value) => [value, at])),
      },
      // Figures are printed right of all bars, where dots do not cover them.
      {
        type: "custom",
        xAxisIndex: index,
        yAxisIndex: index,
        clip: false,
        renderItem: (
          _: unknown,
          { coord, value }: { coord: (at: number[]) => number[]; value: (at: number) => number },
        ) => ({
          type: "text",
          style: { text: shown(value(0)), font: `12px ${font}`, fill: "#222", textVerticalAlign: "middle" },
          position: [width - 100, coord([0, value(1)])[1]!],
        }),
        data: series.map(({ rounds }, at) => [median(rounds), at]),
      },
    ]),
  }, top);
}

/** How far a figure is from its target, as a factor: 1 is the target, more is better. */
function towards({ is, limit }: Verdict["target"], value: number): number {
  return is === ">=" ? value / limit : limit / value;
}

const [least, most] = [0.1, 10];
const within = (factor: number) => Math.min(most, Math.max(least, factor));

/** Every verdict that has a figure against its target, on one logarithmic axis; a line spans the rounds. */
export function targets(rows: readonly RowResult[]): string {
  const measures = rows.flatMap(({ id, verdicts }) =>
    [...new Set(verdicts.filter(({ value }) => value !== undefined).map(({ measure }) => measure))]
      .map((measure) => ({ name: `${id}: ${measure}`, verdicts: verdicts.filter((one) => one.measure === measure) }))
  );
  const points = (kind: RuntimeKind) =>
    measures.flatMap(({ verdicts }, at) =>
      verdicts.filter(({ runtime, value }) => runtime === kind && value !== undefined).map(
        ({ target, value, rounds }) => {
          const factors = [value!, ...(rounds ?? [])].map((one) => within(towards(target, one)));
          return [factors[0]!, at, Math.min(...factors), Math.max(...factors)];
        },
      )
    );
  return svg({
    legend: { top: 8, left: 8, data: bothRuntimes.map((kind) => ({ name: kind, icon: "circle" })) },
    grid: { top: 40, bottom: 50, left: 350, right: 30 },
    xAxis: {
      type: "log",
      min: least,
      max: most,
      name: "times the target (right of 1: met)",
      nameLocation: "middle",
      nameGap: 28,
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: measures.map(({ name }) => name),
      axisTick: { show: false },
      axisLabel: { interval: 0, width: 335, overflow: "truncate" },
      splitLine: { show: true, lineStyle: { color: "#eee" } },
    },
    series: bothRuntimes.flatMap((kind, nth) => [
      spans(kind, nth, points(kind)),
      {
        type: "scatter",
        name: kind,
        symbolSize: 8,
        symbolOffset: [0, offsetOf(nth)],
        itemStyle: { color: colours[kind] },
        data: points(kind),
        ...(nth === 0 ? { markLine: targetLine } : {}),
      },
    ]),
  }, 90 + measures.length * 22);
}

const targetLine = {
  silent: true,
  symbol: "none",
  label: { show: false },
  lineStyle: { color: "#222", type: "solid" },
  data: [{ xAxis: 1 }],
};

/** The two runtimes stand above and below the middle of their line. */
const offsetOf = (nth: number) => nth === 0 ? -4 : 4;

function spans(kind: RuntimeKind, nth: number, data: number[][]) {
  return {
    type: "custom",
    renderItem: (
      _: unknown,
      { coord, value }: { coord: (at: number[]) => number[]; value: (at: number) => number },
    ) => {
      const [x1, y] = coord([value(2), value(1)]);
      const [x2] = coord([value(3), value(1)]);
      const at = y! + offsetOf(nth);
      return { type: "line", shape: { x1, x2, y1: at, y2: at }, style: { stroke: colours[kind], lineWidth: 2 } };
    },
    data,
  };
}
