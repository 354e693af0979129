// Graphs: the panel "Time series", with the dashboard's annotations.

import { dateTime, getFieldDisplayName } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { useState } from 'react';

import { Empty } from './panel.jsx';

/** `data-lines`: the name and colour of every line that is drawn, as JSON, for `look`: a canvas cannot be asked. */
export function Graph({ panel, frames, width, height, theme, server, marks }) {
  const [lines, setLines] = useState([]);
  if (frames.length === 0) {
    return <Empty {...{ panel, width, height, theme }} />;
  }
  const [from, to] = [dateTime(server.from * 1000), dateTime(server.to * 1000)];
  const configure = (config, aligned) => {
    if (!config.isHooked) {
      config.isHooked = true;
      config.addHook('draw', (plot) => drawMarks(plot, marks, theme));
      config.addHook('ready', (plot) => setLines(drawnLines(plot, aligned)));
    }
    return null;
  };
  return (
    <div data-lines={JSON.stringify(lines)}>
      <TimeSeries
        frames={frames}
        height={height}
        legend={panel.options.legend}
        structureRev={1}
        timeRange={{ from, to, raw: { from, to } }}
        timeZone="utc"
        width={width}
      >
        {configure}
      </TimeSeries>
    </div>
  );
}

function drawnLines(plot, aligned) {
  return aligned.fields.slice(1).map((field, index) => {
    const { stroke } = plot.series[index + 1];
    return { name: getFieldDisplayName(field, aligned), colour: stroke instanceof Function ? stroke(plot, index + 1) : stroke };
  });
}

/** Grafana draws a region as two dashed lines, and a shade between them. */
function drawMarks(plot, marks, theme) {
  const { ctx, bbox } = plot;
  const bottom = bbox.top + bbox.height;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.setLineDash([5, 5]);
  ctx.lineWidth = 2;
  for (const { from, to, color } of marks) {
    const [start, end] = [from, to].map((time) => plot.valToPos(time * 1000, 'x', true));
    ctx.strokeStyle = theme.visualization.getColorByName(color);
    for (const x of new Set([start, end])) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bottom);
      ctx.stroke();
    }
    ctx.globalAlpha = 0.1;
    ctx.fillStyle = ctx.strokeStyle;
    ctx.fillRect(start, bbox.top, end - start, bbox.height);
    ctx.globalAlpha = 1;
  }
  ctx.restore();
}
