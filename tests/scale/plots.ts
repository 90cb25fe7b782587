/** The figures over the number of nodes, as two SVGs. */
import { LineChart } from "echarts/charts";
import { use } from "echarts/core";
import { svg, width } from "../bench/plot.ts";
import type { RealFigures } from "./real/run.ts";
import { idleRate, KEYS } from "./simulation/run.ts";
import type { Simulated } from "./report.ts";

use([LineChart]);

/** One line or one row of dots. */
interface Series {
  readonly name: string;
  readonly points: readonly (readonly [nodes: number, value: number])[];
  readonly kind: "simulated" | "real" | "rule";
}

interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

/** They also differ in lightness (Okabe and Ito, 2008). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#aa4499"];
const PANEL = { columns: 2, height: 346, left: 62, right: 24, top: 82, bottom: 52 };

/** The messages of nodes, by the number of nodes. */
export function messagesPlot(simulated: readonly Simulated[], real: readonly RealFigures[]): string {
  return panels([
    {
      title: "Messages that a node sends in a second without changes",
      series: [
        line("simulated", simulated, idleRate),
        dots("real", real, ({ framesPerSecond }) => framesPerSecond),
      ],
    },
    {
      title: "Messages that a node sends for one invalidation",
      series: [
        line("simulated", simulated, ({ invalidation, nodes }) => invalidation.position / nodes),
        dots("real", real, ({ framesPerInvalidation }) => framesPerInvalidation),
      ],
    },
    {
      title: "NATS messages, whole fleet",
      series: [
        dots("per second, idle", real, ({ natsPerSecond }) => natsPerSecond),
        dots("for a join", real, ({ nats }) => nats.join),
        dots("for an invalidation", real, ({ nats }) => nats.invalidation),
      ],
    },
    {
      title: "Connections between nodes, whole fleet",
      series: [
        line("simulated", simulated, ({ nodes, links }) => nodes * links / 2),
        dots("real", real, ({ nodes, connections }) => nodes * connections.peers / 2),
      ],
    },
  ]);
}

/** Times and memory, by the number of nodes. */
export function timesPlot(simulated: readonly Simulated[], real: readonly RealFigures[]): string {
  return panels([
    {
      title: "Until all nodes agree, ms",
      series: [
        line("join", simulated, ({ agreeMs }) => agreeMs.join),
        line("leave", simulated, ({ agreeMs }) => agreeMs.leave),
        line("crash", simulated, ({ agreeMs }) => agreeMs.crash),
        line("invalidation", simulated, ({ appliedMs }) => appliedMs),
        dots("join, real", real, ({ agreeMs }) => agreeMs.join),
        dots("leave, real", real, ({ agreeMs }) => agreeMs.leave),
        dots("crash, real", real, ({ agreeMs }) => agreeMs.crash),
      ],
    },
    {
      title: `Keys of ${KEYS} that move when a node joins`,
      series: [
        line("simulated", simulated, ({ keysMoved }) => keysMoved.join),
        { ...line("one of N", simulated, ({ nodes }) => KEYS / nodes), kind: "rule" },
      ],
    },
    {
      title: "Memory of one node, KiB",
      series: [
        line("parts, with its keys", simulated, ({ heapBytesPerNode }) => heapBytesPerNode / 1_024),
        line("links", simulated, ({ costs, links }) => costs.heapBytesPerLink * links / 1_024),
        dots("process, Bun", real, ({ memoryBytes }) => memoryBytes.bun / 1_024),
        dots("process, Deno", real, ({ memoryBytes }) => memoryBytes.deno / 1_024),
      ],
    },
    {
      title: "CPU of one node, ms",
      series: [
        line("a second without changes", simulated, ({ idleCpuMs }) => idleCpuMs),
        line("another node joins", simulated, ({ joinCpuMs }) => joinCpuMs),
        line("all say where they are", simulated, ({ costs }) => costs.announceMs),
        line("a thousand keys' owners", simulated, ({ costs }) => costs.pickNs / 1_000),
      ],
    },
  ]);
}

function line(name: string, figures: readonly Simulated[], of: (one: Simulated) => number): Series {
  return { name, points: figures.map((one) => [one.nodes, of(one)] as const), kind: "simulated" };
}

function dots(name: string, figures: readonly RealFigures[], of: (one: RealFigures) => number): Series {
  return { name, points: figures.map((one) => [one.nodes, of(one)] as const), kind: "real" };
}

function panels(all: readonly Panel[]): string {
  const panelWidth = width / PANEL.columns;
  const rows = Math.ceil(all.length / PANEL.columns);
  const placeOf = (at: number) => ({
    left: panelWidth * (at % PANEL.columns),
    top: PANEL.height * Math.floor(at / PANEL.columns),
  });
  return svg({
    color: COLOURS,
    title: all.map(({ title }, at) => {
      const { left, top } = placeOf(at);
      return { text: title, left: left + 8, top: top + 6, textStyle: { fontSize: 13 } };
    }),
    legend: all.map(({ series }, at) => {
      const { left, top } = placeOf(at);
      const data = series.map(({ name }) => legendName(at, name));
      return {
        data,
        left: left + 8,
        top: top + 26,
        width: panelWidth - 16,
        itemWidth: 14,
        itemHeight: 8,
        itemGap: 22,
        textStyle: { fontSize: 11, color: "#222" },
        formatter: (name: string) => name.slice(name.indexOf(" ") + 1),
      };
    }),
    grid: all.map((_, at) => {
      const { left, top } = placeOf(at);
      return {
        left: left + PANEL.left,
        top: top + PANEL.top,
        width: panelWidth - PANEL.left - PANEL.right,
        height: PANEL.height - PANEL.top - PANEL.bottom,
      };
    }),
    xAxis: all.map((_, gridIndex) => ({
      type: "log",
      gridIndex,
      min: 3,
      max: 1_000,
      name: "nodes",
      nameLocation: "middle",
      nameGap: 26,
      axisLabel: { color: "#222" },
      nameTextStyle: { color: "#222" },
    })),
    yAxis: all.map((_, gridIndex) => ({
      type: "log",
      gridIndex,
      axisLabel: { color: "#222", formatter: (value: number) => value.toLocaleString("en") },
    })),
    series: all.flatMap(({ series }, at) => series.map((one, nth) => shownSeries(one, at, nth, series))),
  }, rows * PANEL.height);
}

/** A legend takes names of all panels: each is told apart by its panel. */
function legendName(panel: number, name: string): string {
  return `${panel} ${name}`;
}

/** A figure that is both simulated and real has one colour: a line for the former, dots for the latter. */
function shownSeries({ name, points, kind }: Series, panel: number, nth: number, all: readonly Series[]) {
  const twin = all.findIndex((other) => kind === "real" && name === `${other.name}, real`);
  const color = kind === "rule" ? "#777" : COLOURS[(twin < 0 ? nth : twin) % COLOURS.length]!;
  const common = {
    name: legendName(panel, name),
    xAxisIndex: panel,
    yAxisIndex: panel,
    data: points.map((at) => [...at]),
  };
  if (kind === "real") return { ...common, type: "scatter", symbol: "diamond", symbolSize: 9, itemStyle: { color } };
  const lineStyle = { color, width: 2, type: kind === "rule" ? "dashed" : "solid" };
  return { ...common, type: "line", lineStyle, itemStyle: { color }, showSymbol: kind !== "rule", symbolSize: 5 };
}
