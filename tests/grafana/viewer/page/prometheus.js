// Queries as Grafana's Prometheus data source sends them, and their answers as its data frames.

import { DataFrameType, FieldType, rangeUtil } from '@grafana/data';

import { fill } from './variables.js';

// Grafana asks for annotations in steps of a minute.
const ANNOTATION_STEP = 60;

/** A server, and the time range of the dashboard; all times and intervals are in seconds. */
export class Prometheus {
  constructor(address, { from, to, scrape }) {
    Object.assign(this, { address, from, to, scrape });
  }

  /** The step of a graph that is `width` pixels wide, and what follows from it. */
  intervals(width) {
    const step = Math.max(rangeUtil.roundInterval(((this.to - this.from) * 1000) / width) / 1000, this.scrape);
    return {
      step,
      globals: {
        __interval: `${step}s`,
        __rate_interval: `${Math.max(step + this.scrape, 4 * this.scrape)}s`,
        __range: `${this.to - this.from}s`,
        __range_s: `${this.to - this.from}`,
      },
    };
  }

  /** The values of a label, in the order of the alphabet, whatever the case of the letters. */
  async labelValues(selector, label) {
    const parameters = { start: this.from, end: this.to, ...(selector && { 'match[]': selector }) };
    const values = await this.#ask(`label/${label}/values?${new URLSearchParams(parameters)}`);
    return values.sort((a, b) => a.toLowerCase().localeCompare(b.toLowerCase()));
  }

  /** [labels, times at which there was a value] of each series of an annotation's query. */
  async moments(expr, variables) {
    const { globals } = this.intervals(1);
    const series = await this.#range(fill(expr, { ...globals, ...variables }), ANNOTATION_STEP);
    return series.map(({ metric, values }) => [metric, values.map(([at]) => at), ANNOTATION_STEP]);
  }

  /** The frames of all queries of a panel that is `width` pixels wide. Raises what Prometheus objects to. */
  async frames(panel, variables, width) {
    const { step, globals } = this.intervals(width);
    const tables = panel.targets.filter((target) => target.format === 'table').length;
    const answers = panel.targets.map(async (target) => {
      const query = fill(target.expr, { ...globals, ...variables });
      if (!target.instant) {
        const series = await this.#range(query, step);
        return series.map(({ metric, values, histograms }) =>
          histograms ? cellsFrame(target, histograms, step) : seriesFrame(target, metric, onGrid(values, step), step),
        );
      }
      const { resultType, result } = await this.#ask('query', { query, time: this.to });
      const series = resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
      if (target.format === 'table') {
        return [tableFrame(target, series, this.to, tables > 1 ? `Value #${target.refId}` : 'Value')];
      }
      return series.map(({ metric, value }) => seriesFrame(target, metric, [value], step));
    });
    return (await Promise.all(answers)).flat();
  }

  /** The series of a query at the end of the time range. */
  async moment(query) {
    return (await this.#ask('query', { query, time: this.to })).result;
  }

  async #range(query, step) {
    const aligned = (time) => Math.floor(time / step) * step;
    const data = await this.#ask('query_range', { query, step, start: aligned(this.from), end: aligned(this.to) });
    return data.result;
  }

  async #ask(path, body) {
    const options = body && { method: 'POST', body: new URLSearchParams(body) };
    const answer = await (await fetch(`${this.address}/api/v1/${path}`, options)).json();
    if (answer.status !== 'success') {
      throw new Error(`${answer.error} in ${body?.query ?? path}`);
    }
    return answer.data;
  }
}

/** Samples at every step from the first to the last; null where Prometheus has none, so that lines break there. */
function onGrid(values, step) {
  const known = new Map(values);
  const [first] = values[0];
  const [last] = values.at(-1);
  const count = Math.round((last - first) / step) + 1;
  return Array.from({ length: count }, (_, index) => first + index * step).map((at) => [at, known.get(at) ?? null]);
}

function number(text) {
  return text === null ? null : Number(text.replace('Inf', 'Infinity'));
}

function seriesFrame(target, labels, samples, step) {
  const name = legend(target.legendFormat, labels);
  return {
    refId: target.refId,
    name,
    length: samples.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: samples.map(([at]) => at * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels,
        config: { displayNameFromDS: name },
        values: samples.map(([, value]) => number(value)),
      },
    ],
  };
}

/** The buckets of native histograms that have observations: a frame of Grafana's type "heatmap-cells". */
function cellsFrame(target, histograms, step) {
  const cells = histograms.flatMap(([at, { buckets = [] }]) =>
    buckets.map(([, from, to, count]) => [at * 1000, Number(from), Number(to), Number(count)]),
  );
  const field = (name, type, column) => ({ name, type, config: {}, values: cells.map((cell) => cell[column]) });
  const xMax = field('xMax', FieldType.time, 0);
  xMax.config.interval = step * 1000;
  return {
    refId: target.refId,
    length: cells.length,
    meta: { type: DataFrameType.HeatmapCells },
    fields: [
      xMax,
      field('yMin', FieldType.number, 1),
      field('yMax', FieldType.number, 2),
      field('count', FieldType.number, 3),
    ],
  };
}

function tableFrame(target, series, time, valueName) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return {
    refId: target.refId,
    length: series.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: series.map(() => time * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: { filterable: true },
        values: series.map(({ metric }) => metric[label] ?? ''),
      })),
      { name: valueName, type: FieldType.number, config: {}, values: series.map(({ value }) => number(value[1])) },
    ],
  };
}

function legend(format, labels) {
  if (format) {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  const { __name__: name = '', ...others } = labels;
  const pairs = Object.entries(others).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${pairs.join(', ')}}`;
}
