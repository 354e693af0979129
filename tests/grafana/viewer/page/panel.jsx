// A panel: its frame and title, its data, and what draws it.

import { PanelChrome } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';

import { prepareFrames } from './fields.js';
import { Figure } from './figure.jsx';
import { Graph } from './graph.jsx';
import { Heatmap } from './heatmap.jsx';
import { StateTimeline } from './timeline.jsx';
import { DataTable } from './table.jsx';
import { asValues, fill } from './variables.js';

const DRAWN_BY = {
  heatmap: Heatmap,
  stat: Figure,
  'state-timeline': StateTimeline,
  table: DataTable,
  timeseries: Graph,
};
// What the frame of a panel takes of its width, on both sides.
const FRAME = 16;

/**
 * `data-panel` is the panel's title, `data-number` its id, `data-kind` its type, and
 * `data-error` what went wrong: `look` reads them.
 * `loading` takes the promise of the data.
 */
export function Panel({ panel, box, variables, theme, server, marks, loading }) {
  const [state, setState] = useState();
  useEffect(() => {
    const load = async () => {
      const values = asValues(variables);
      try {
        const width = Math.max(10, Math.floor(box.width - FRAME));
        const frames = await server.frames(panel, values, width);
        setState({ frames: await prepareFrames(panel, frames, theme) });
      } catch (error) {
        setState({ frames: [], error: error.message });
      }
    };
    loading.push(load());
  }, []);
  const title = fill(panel.title, Object.fromEntries(variables.map(({ name, shown }) => [name, shown])));
  const Drawn = DRAWN_BY[panel.type];
  return (
    <div
      style={{ position: 'absolute', ...box }}
      data-panel={title}
      data-number={panel.id}
      data-kind={panel.type}
      data-error={state?.error}
    >
      <PanelChrome
        title={title}
        description={panel.description}
        width={box.width}
        height={box.height}
        padding={panel.type === 'table' ? 'none' : 'md'}
        statusMessage={state?.error}
      >
        {(width, height) =>
          state && (
            <Guard>
              <Drawn {...{ panel, frames: state.frames, width, height, theme, server, marks }} />
            </Guard>
          )
        }
      </PanelChrome>
    </div>
  );
}

/** Shows an exception of what draws instead of it; the rest of the dashboard stays. */
class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    const { error } = this.state;
    return error ? <pre data-error={error.message}>{error.stack}</pre> : this.props.children;
  }
}

/** What Grafana shows in a panel without data. */
export function Empty({ panel, width, height, theme }) {
  return (
    <div
      data-empty
      style={{
        alignItems: 'center',
        color: theme.colors.text.secondary,
        display: 'flex',
        fontSize: theme.typography.h3.fontSize,
        height,
        justifyContent: 'center',
        textAlign: 'center',
        width,
      }}
    >
      {panel.fieldConfig?.defaults?.noValue ?? 'No data'}
    </div>
  );
}
