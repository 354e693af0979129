// How Grafana learns which settings a field may have. In Grafana, each kind of panel registers its own.

import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  getFieldDisplayName,
  identityOverrideProcessor,
  locationUtil,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

const STANDARD = [
  'color', 'decimals', 'displayName', 'fieldMinMax', 'filterable', 'links', 'mappings', 'max', 'min', 'noValue',
  'thresholds', 'unit',
];
const CUSTOM = [
  'align', 'axisBorderShow', 'axisCenteredZero', 'axisColorMode', 'axisGridShow', 'axisLabel', 'axisPlacement',
  'axisSoftMax', 'axisSoftMin', 'axisWidth', 'barAlignment', 'cellOptions', 'drawStyle', 'fillBelowTo', 'fillOpacity',
  'filterable', 'footer', 'gradientMode', 'hidden', 'hideFrom', 'insertNulls', 'inspect', 'lineInterpolation', 'lineStyle',
  'lineWidth', 'minWidth', 'pointSize', 'scaleDistribution', 'showPoints', 'spanNulls', 'stacking', 'thresholdsStyle',
  'transform', 'width', 'wrapText',
];

// What a kind of panel takes where the dashboard says nothing.
const PANEL_DEFAULTS = {
  heatmap: {},
  stat: { color: { mode: 'thresholds' } },
  'state-timeline': { color: { mode: 'continuous-GrYlRd' } },
  table: {
    color: { mode: 'thresholds' },
    custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
  },
  timeseries: {
    color: { mode: 'palette-classic' },
    custom: {
      axisBorderShow: false,
      axisCenteredZero: false,
      axisColorMode: 'text',
      axisLabel: '',
      axisPlacement: 'auto',
      barAlignment: 0,
      drawStyle: 'line',
      fillOpacity: 0,
      gradientMode: 'none',
      hideFrom: { legend: false, tooltip: false, viz: false },
      insertNulls: false,
      lineInterpolation: 'linear',
      lineWidth: 1,
      pointSize: 5,
      scaleDistribution: { type: 'linear' },
      showPoints: 'auto',
      spanNulls: false,
      stacking: { group: 'A', mode: 'none' },
      thresholdsStyle: { mode: 'off' },
    },
  },
};
const THRESHOLDS = { mode: 'absolute', steps: [{ color: 'green', value: null }, { color: 'red', value: 80 }] };

/** Tell Grafana's libraries which transformations and settings there are. */
export function prepareRegistries() {
  const transformers = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
  standardTransformersRegistry.setInit(() =>
    [...transformers.values()].map((each) => ({
      id: each.id,
      name: each.name,
      editor: () => null,
      transformation: async () => each, // Grafana 13 loads it ...
      ...(VERSION.startsWith('11.') && { transformation: each }), // ... and Grafana 11 has it
    })),
  );
  standardFieldConfigEditorRegistry.setInit(() => STANDARD.map((path) => setting(path, path)));
  locationUtil.initialize({
    config: { appSubUrl: '' },
    getTimeRangeForUrl: () => ({}),
    getVariablesUrlParams: () => ({}),
  });
}

function setting(id, path, isCustom = false) {
  return {
    id,
    path,
    isCustom,
    name: id,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    settings: {},
    shouldApply: () => true,
  };
}

/** A panel's settings of fields with all defaults in place; JSON has null where Grafana has minus infinity. */
export function completeFieldConfig(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const own = PANEL_DEFAULTS[panel.type] ?? {};
  const custom = { ...own.custom, ...defaults.custom };
  if (custom.stacking) {
    custom.stacking = { ...own.custom.stacking, ...custom.stacking };
  }
  return {
    defaults: { mappings: [], ...own, ...defaults, custom, thresholds: steps(defaults.thresholds ?? THRESHOLDS) },
    overrides: overrides.map(({ matcher, properties }) => ({
      matcher,
      properties: properties.map(({ id, value }) => ({ id, value: id === 'thresholds' ? steps(value) : value })),
    })),
  };
}

function steps(thresholds) {
  return { ...thresholds, steps: thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) };
}

/** Apply the panel's transformations to frames, then its settings of fields; and name all fields. */
export async function prepareFrames(panel, frames, theme) {
  const transformations = panel.transformations ?? [];
  const context = { interpolate: (text) => text };
  const prepared = applyFieldOverrides({
    data: await firstValueFrom(transformDataFrame(transformations, frames, context)),
    fieldConfig: completeFieldConfig(panel),
    fieldConfigRegistry: new FieldConfigOptionsRegistry(() => [
      ...STANDARD.map((path) => setting(path, path)),
      ...CUSTOM.map((path) => setting(`custom.${path}`, path, true)),
    ]),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  for (const frame of prepared) {
    for (const field of frame.fields) {
      getFieldDisplayName(field, frame, prepared); // which keeps the name in the field
    }
  }
  return prepared;
}
