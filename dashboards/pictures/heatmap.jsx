// Grafana's heat map panel is not published as a component; this draws the same query in the same colours' spirit.
import React, { useEffect, useRef } from 'react';
import { formattedValueToString } from '@grafana/data';

const COLOURS = { Oranges: [255, 152, 48], Blues: [87, 148, 242], Greens: [115, 191, 105] };
const [LEFT, BOTTOM] = [64, 22];

const edgeOf = ({ le }) => (le === '+Inf' ? Infinity : Number(le));

export function Heatmap({ series, step, from, to, width, height, theme, scheme, format }) {
  const canvas = useRef(null);
  useEffect(() => {
    const context = canvas.current.getContext('2d');
    const edges = series.map(({ metric }) => edgeOf(metric)).sort((a, b) => a - b);
    const byEdge = new Map(series.map(({ metric, values }) => [edgeOf(metric), new Map(values.map(([at, value]) => [Math.round(at), Number(value)]))]));
    const times = [];
    for (let at = from; at <= to; at += step) times.push(at);
    // Buckets are cumulative.
    const cells = edges.map((edge, index) => times.map((at) =>
      Math.max(0, (byEdge.get(edge).get(at) ?? 0) - (index ? byEdge.get(edges[index - 1]).get(at) ?? 0 : 0))));
    const top = Math.max(...cells.flat(), 1);
    const [plotWidth, plotHeight] = [width - LEFT - 8, height - BOTTOM - 4];
    const [w, h] = [plotWidth / times.length, plotHeight / edges.length];
    const colour = COLOURS[scheme] ?? COLOURS.Oranges;
    context.font = '12px Inter, Helvetica, Arial, sans-serif';
    context.fillStyle = theme.colors.text.primary;
    context.textAlign = 'right';
    edges.forEach((edge, row) => {
      if (row % 2 === 0 || h > 16) {
        const text = edge === Infinity ? '+Inf' : formattedValueToString(format(edge, 0));
        context.fillText(text, LEFT - 6, plotHeight - row * h - h / 2 + 4);
      }
    });
    context.textAlign = 'center';
    for (let at = Math.ceil(from / 3600) * 3600; at <= to; at += 3600) {
      const x = LEFT + ((at - from) / (to - from)) * plotWidth;
      if (x < width - 24) context.fillText(new Date(at * 1000).toISOString().slice(11, 16), x, height - 6);
    }
    cells.forEach((row, index) => row.forEach((value, column) => {
      if (value < 1e-9) return;
      context.fillStyle = `rgba(${colour}, ${0.15 + 0.85 * Math.sqrt(value / top)})`;
      context.fillRect(LEFT + column * w, plotHeight - (index + 1) * h, w - 1, h - 1);
    }));
  });
  return <canvas ref={canvas} width={width} height={height} />;
}
