// Figures: the panel "Stat".

import { getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BigValue, VizRepeater } from '@grafana/ui';

import { completeFieldConfig } from './fields.js';

export function Figure({ panel, frames, width, height, theme }) {
  const { options } = panel;
  const values = () =>
    getFieldDisplayValues({
      data: frames,
      fieldConfig: completeFieldConfig(panel),
      reduceOptions: options.reduceOptions,
      replaceVariables: (text) => text,
      sparkline: options.graphMode !== 'none',
      theme,
      timeZone: 'utc',
    });
  return (
    <VizRepeater
      autoGrid
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={values}
      height={height}
      itemSpacing={3}
      orientation={options.orientation}
      renderCounter={0}
      renderValue={({ value, alignmentFactors, count, ...size }) => (
        <BigValue
          {...{ alignmentFactors, count, theme }}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          height={size.height}
          justifyMode={options.justifyMode}
          text={options.text}
          textMode={options.textMode}
          value={value.display}
          wideLayout={options.wideLayout}
          width={size.width}
        />
      )}
      source={frames}
      width={width}
    />
  );
}
