// A dashboard: its variables, its rows, all of which are open, and its panels in Grafana's grid.

import { dateTimeFormat } from '@grafana/data';
import { Icon } from '@grafana/ui';

import { Panel } from './panel.jsx';

// Of Grafana's grid: columns, the height of a unit, and the space between panels (pixels).
const COLUMNS = 24;
const UNIT = 30;
const GAP = 8;
const PADDING = 16;

export function Board({ dashboard, variables, theme, server, ...rest }) {
  const width = document.documentElement.clientWidth - 2 * PADDING;
  const placed = place(dashboard.panels, width);
  const height = Math.max(...placed.map(({ box }) => box.top + box.height));
  const time = (seconds) => dateTimeFormat(seconds * 1000, { format: 'YYYY-MM-DD HH:mm:ss', timeZone: 'utc' });
  const text = { color: theme.colors.text.primary, fontSize: 12 };
  return (
    <div style={{ background: theme.colors.background.canvas, padding: PADDING }}>
      <div style={{ ...text, display: 'flex', justifyContent: 'space-between', marginBottom: 8 }}>
        <b style={{ fontSize: 14 }}>{dashboard.title}</b>
        <span>
          {time(server.from)} to {time(server.to)} UTC, drawn with @grafana/ui {VERSION}
        </span>
      </div>
      <div style={{ ...text, display: 'flex', gap: 12, marginBottom: 8 }}>
        {variables.filter(({ hidden }) => !hidden).map(({ name, label, shown }) => (
          <span key={name} style={{ border: `1px solid ${theme.colors.border.medium}`, padding: '5px 8px' }}>
            <span style={{ color: theme.colors.text.secondary }}>{label}</span> {shown}
          </span>
        ))}
      </div>
      <div style={{ position: 'relative', height }}>
        {placed.map(({ panel, box }) =>
          panel.type === 'row' ? (
            <div key={panel.id} style={{ ...box, ...text, fontSize: 17, fontWeight: 500, position: 'absolute' }}>
              <Icon name="angle-down" size="xl" /> {panel.title}
            </div>
          ) : (
            <Panel key={panel.id} {...{ panel, box, variables, theme, server, ...rest }} />
          ),
        )}
      </div>
    </div>
  );
}

/** The boxes of rows and panels, where an opened row moves down what follows. */
function place(panels, width) {
  const placed = [];
  let moved = 0;
  for (const panel of panels) {
    placed.push({ panel, box: box(panel.gridPos, moved, width) });
    if (panel.type === 'row' && panel.collapsed) {
      const bottom = Math.max(...panel.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
      placed.push(...panel.panels.map((inner) => ({ panel: inner, box: box(inner.gridPos, moved, width) })));
      moved += bottom - panel.gridPos.y - panel.gridPos.h;
    }
  }
  return placed;
}

function box({ x, y, w, h }, moved, width) {
  const column = (width - (COLUMNS - 1) * GAP) / COLUMNS;
  return {
    left: x * (column + GAP),
    top: (y + moved) * (UNIT + GAP),
    width: w * column + (w - 1) * GAP,
    height: h * UNIT + (h - 1) * GAP,
  };
}
