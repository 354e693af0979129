// The page that draws a dashboard. Loaded from disk; Python calls `draw` and `look` (tests/grafana/viewer/drawing.py).
//
// Figures, graphs, legends, tables, frames of panels, transformations, overrides, units and mappings are Grafana's own
// code (@grafana/ui and @grafana/data, Apache-2.0). What lives in Grafana's application is imitated here: the grid,
// variables, queries, annotations, heatmaps and state timelines.

import 'uplot/dist/uPlot.min.css';
import { ThemeContext, createTheme } from '@grafana/data';
import { GlobalStyles } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { Board } from './board.jsx';
import { prepareRegistries } from './fields.js';
import { look } from './look.js';
import { Prometheus } from './prometheus.js';
import { annotations, chooseVariables } from './variables.js';

// How long nothing of the page may change before it counts as drawn, and for how long it may change (milliseconds).
const QUIET = 250;
const PATIENCE = 45_000;

/**
 * Draw a dashboard, and return when it stands.
 *
 * `dashboard`: its JSON. `prometheus`: the server's address. `from`, `to`: the time range in seconds since the epoch.
 * `values`: variables that are chosen, by name; the others are "All", or their first value.
 * `scrape`: the data source's scrape interval in seconds.
 */
async function draw({ dashboard, prometheus, from, to, values, scrape }) {
  const server = new Prometheus(prometheus, { from, to, scrape });
  const theme = createTheme({ colors: { mode: 'dark' } });
  prepareRegistries();
  const variables = await chooseVariables(dashboard, server, values);
  const marks = await annotations(dashboard, server, variables);
  const loading = [];
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <style>{'html, body { height: auto !important; margin: 0; overflow: visible !important; }'}</style>
      <Board {...{ dashboard, variables, marks, server, theme, loading }} />
    </ThemeContext.Provider>,
  );
  await quiet();
  await Promise.all(loading);
  await document.fonts.ready;
  await quiet();
  // What was off the screen is drawn with the next frame.
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}

/** Wait until the page stops changing. */
function quiet() {
  return new Promise((resolve, reject) => {
    const finish = (settle, value) => {
      clearTimeout(timer);
      clearTimeout(limit);
      observer.disconnect();
      settle(value);
    };
    let timer = setTimeout(() => finish(resolve), QUIET);
    const limit = setTimeout(() => finish(reject, new Error('the page does not come to rest')), PATIENCE);
    const observer = new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(() => finish(resolve), QUIET);
    });
    observer.observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true });
  });
}

Object.assign(window, { draw, look });
