// State timelines, imitated: Grafana's own are no part of its libraries.

import { dateTimeFormat, formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { VizLegend } from '@grafana/ui';

import { Empty } from './panel.jsx';

// Of names, axis and legend (pixels).
const NAME = 12;
const AXIS = 20;
const LEGEND = 30;

/** `data-states`: the name (text) and colour of each state that is drawn, as JSON, for `look`. */
export function StateTimeline({ panel, frames, width, height, theme, server }) {
  if (frames.length === 0) {
    return <Empty {...{ panel, width, height, theme }} />;
  }
  const rows = frames.map((frame) => ({ name: getFieldDisplayName(frame.fields[1], frame, frames), runs: runs(frame) }));
  const left = Math.min(0.35 * width, 8 + 7 * Math.max(...rows.map(({ name }) => name.length)));
  const hasLegend = panel.options.legend?.showLegend !== false;
  const plotHeight = height - AXIS - (hasLegend ? LEGEND : 0);
  const rowHeight = plotHeight / rows.length;
  const place = (time) => left + ((time / 1000 - server.from) / (server.to - server.from)) * (width - left);
  const clock = (share) =>
    dateTimeFormat((server.from + share * (server.to - server.from)) * 1000, { format: 'HH:mm', timeZone: 'utc' });
  const states = [
    ...new Map(rows.flatMap((row) => row.runs).map(({ text, colour }) => [text, { name: text, colour }])).values(),
  ];
  return (
    <div data-states={JSON.stringify(states)}>
      <svg width={width} height={plotHeight + AXIS} fill={theme.colors.text.primary} fontSize={NAME}>
        {rows.map((row, index) => (
          <g key={row.name} transform={`translate(0 ${index * rowHeight})`}>
            {row.runs.map(({ from, to, colour }) => (
              <rect
                key={from}
                fill={colour}
                height={Math.max(1, rowHeight * (panel.options.rowHeight ?? 0.9))}
                width={Math.max(1, place(to) - place(from))}
                x={place(from)}
                y={rowHeight * 0.05}
              />
            ))}
            <svg width={left - 8} height={rowHeight}>
              <text x={left - 12} y={rowHeight / 2 + NAME / 3} textAnchor="end">
                {row.name}
              </text>
            </svg>
          </g>
        ))}
        {[0.1, 0.5, 0.9].map((share) => (
          <text key={share} x={left + share * (width - left)} y={plotHeight + AXIS - 6} textAnchor="middle">
            {clock(share)}
          </text>
        ))}
      </svg>
      {hasLegend && (
        <VizLegend
          displayMode="list"
          items={states.map((state) => ({ label: state.name, color: state.colour, yAxis: 1 }))}
          placement="bottom"
        />
      )}
    </div>
  );
}

/** Stretches of time with one value: {from, to, text, colour} in milliseconds. */
function runs({ fields: [times, states] }) {
  const found = [];
  const step = times.config.interval;
  states.values.forEach((value, index) => {
    const at = times.values[index];
    const last = found.at(-1);
    if (value === null) {
      return;
    }
    if (last?.value === value && last.to === at) {
      last.to = at + step;
      return;
    }
    const shown = states.display(value);
    found.push({ value, from: at, to: at + step, text: formattedValueToString(shown), colour: shown.color });
  });
  return found;
}
