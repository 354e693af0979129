// Heatmaps, imitated: Grafana's own are no part of its libraries. For histograms of Prometheus: native ones, and classic
// ones, whose buckets include those below them. Of both, as in Grafana, native ones are drawn.

import { DataFrameType, dateTimeFormat, formattedValueToString, getValueFormat } from '@grafana/data';
import * as chromatic from 'd3-scale-chromatic';

import { Empty } from './panel.jsx';

// Of labels and legend (pixels).
const LEFT = 60;
const AXIS = 22;
const LEGEND = 30;
const LABEL = 18;

export function Heatmap({ panel, frames, width, height, theme, server }) {
  if (frames.length === 0) {
    return <Empty {...{ panel, width, height, theme }} />;
  }
  const native = frames.find(({ meta }) => meta?.type === DataFrameType.HeatmapCells);
  const { buckets, step, start, columns, largest } = native ? nativeCells(native, server) : cells(frames, server);
  const scheme = chromatic[`interpolate${panel.options.color.scheme ?? 'Oranges'}`];
  const colour = (share) => scheme(theme.isDark ? 1 - share : share);
  const [plotWidth, plotHeight] = [width - LEFT, height - AXIS - LEGEND];
  const [cellWidth, cellHeight] = [plotWidth / columns, plotHeight / buckets.length];
  const bound = ({ le }) => (le === Infinity ? '+Inf' : shown(panel.options.yAxis?.unit, le));
  const every = Math.ceil(LABEL / cellHeight);
  const time = (share) =>
    dateTimeFormat((start + share * columns * step) * 1000, { format: 'HH:mm', timeZone: 'utc' });
  return (
    <svg width={width} height={height} fill={theme.colors.text.primary} fontSize={12}>
      {buckets.map((bucket, row) => (
        <g key={bucket.le} transform={`translate(0 ${plotHeight - (row + 1) * cellHeight})`}>
          {row % every === 0 && (
            <text x={LEFT - 8} y={cellHeight / 2 + 4} textAnchor="end">
              {bound(bucket)}
            </text>
          )}
          {bucket.values.map((value, column) =>
            value > 0 ? (
              <rect
                key={column}
                fill={colour(value / largest)}
                height={Math.max(1, cellHeight - 1)}
                width={Math.max(1, cellWidth - 1)}
                x={LEFT + column * cellWidth}
              />
            ) : null,
          )}
        </g>
      ))}
      {[0.1, 0.5, 0.9].map((share) => (
        <text key={share} x={LEFT + share * plotWidth} y={plotHeight + 16} textAnchor="middle">
          {time(share)}
        </text>
      ))}
      {Array.from({ length: 32 }, (_, index) => (
        <rect key={index} x={LEFT + 6 * index} y={height - 12} width={6} height={10} fill={colour(index / 31)} />
      ))}
      <text x={LEFT + 204} y={height - 3}>
        0 to {shown(panel.options.cellValues?.unit, largest)}
      </text>
    </svg>
  );
}

function shown(unit, value) {
  return formattedValueToString(getValueFormat(unit ?? 'short')(value));
}

function grid(frame, server) {
  const step = frame.fields[0].config.interval / 1000;
  const start = Math.floor(server.from / step) * step;
  return { step, start, columns: Math.floor((server.to - start) / step) + 1 };
}

/** One row for each bucket of a native histogram from the lowest to the highest that has anything. */
function nativeCells(frame, server) {
  const { step, start, columns } = grid(frame, server);
  const [times, , ends, counts] = frame.fields.map(({ values }) => values);
  const [lowest, highest] = [Math.min(...ends), Math.max(...ends)].map((end) => Math.round(Math.log2(end) * 8));
  const buckets = Array.from({ length: highest - lowest + 1 }, (_, row) => ({
    le: 2 ** ((lowest + row) / 8),
    values: new Array(columns).fill(0),
  }));
  times.forEach((time, index) => {
    const row = Math.round(Math.log2(ends[index]) * 8) - lowest;
    buckets[row].values[Math.round((time / 1000 - start) / step)] = counts[index];
  });
  return { buckets, step, start, columns, largest: Math.max(...counts) };
}

/** One row for each bucket, the lowest first, without what the buckets below it have. */
function cells(frames, server) {
  const { step, start, columns } = grid(frames[0], server);
  const cumulative = frames
    .map(({ fields: [times, counts] }) => {
      const known = new Map(times.values.map((time, index) => [time / 1000, counts.values[index]]));
      return {
        le: Number(counts.labels.le.replace('Inf', 'Infinity')),
        values: Array.from({ length: columns }, (_, column) => known.get(start + column * step) ?? null),
      };
    })
    .sort((a, b) => a.le - b.le);
  const buckets = cumulative.map(({ le, values }, row) => ({
    le,
    values: values.map((value, column) => Math.max(0, value - (cumulative[row - 1]?.values[column] ?? 0))),
  }));
  return { buckets, step, start, columns, largest: Math.max(...buckets.flatMap(({ values }) => values)) };
}
